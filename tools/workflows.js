// Runs inside ComfyUI's page: builds a graph from the plan that tools/workflows.py sends. The answer is, by node, the
// height of its advanced widgets: Nodes 2.0 hides them and keeps a stored height, the classic canvas makes room by itself.
function build(plan) {
  const graph = app.rootGraph
  graph.clear()
  const nodes = plan.nodes.map((one) => add(graph, one))
  for (const [from, output, to, input] of plan.wires) connect(graph, from, output, to, input)
  place(plan, nodes)
  addNote(graph, plan)
  return Object.fromEntries(nodes.map((node) => [node.id, advancedHeight(node)]))
}

function advancedHeight(node) {
  const row = LiteGraph.NODE_WIDGET_HEIGHT + 4 // as litegraph stacks them
  return row * (node.widgets ?? []).filter((one) => one.options?.advanced).length
}

function add(graph, one) {
  const node = LiteGraph.createNode(one.type)
  if (!node) throw new Error(`no node ${one.type}`)
  node.id = one.id
  graph.add(node)
  for (const [name, value] of Object.entries(one.widgets)) set(node, name, value)
  if (one.models.length) node.properties.models = one.models
  return node
}

function set(node, name, value) {
  const widget = node.widgets.find((one) => one.name === name)
  if (!widget) throw new Error(`${node.type} has no widget ${name}`)
  widget.value = value
  widget.callback?.(value, app.canvas, node)
}

function connect(graph, from, output, to, input) {
  const [source, target] = [graph.getNodeById(from), graph.getNodeById(to)]
  const [slot, place] = [source.findOutputSlot(output), target.findInputSlot(input)]
  if (slot < 0 || place < 0) throw new Error(`no ${output} → ${input} between ${from} and ${to}`)
  if (!source.connect(slot, target, place)) throw new Error(`${output} → ${input} is refused`)
}

// one column per step, a second row below the tallest node
function place(plan, nodes) {
  const { column, top, row, gap, left } = plan.grid
  plan.nodes.forEach((one, index) => {
    const node = nodes[index]
    node.setSize(node.computeSize())
    node.size[0] = column - gap
    node.pos = [left + one.column * column, one.below ? top + row : top]
  })
}

function addNote(graph, plan) {
  const note = LiteGraph.createNode('MarkdownNote')
  note.id = plan.note.id
  graph.add(note)
  note.widgets[0].value = plan.note.text
  const { column, top, gap, left } = plan.grid
  note.size = [column - gap, 340]
  note.pos = [left - column, top]
}
