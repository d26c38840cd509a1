/** Nodes of the graph on the page, and what this pack shows on them. */

import { app } from '../../../scripts/app.js'

/** The node that the server calls so, if it is on the page and of a class: ids of nodes in subgraphs are paths like 12:35. */
export function findNode({ workflow, node }, comfyClass) {
  const path = String(node).split(':')
  const last = path.pop()
  const root = workflow === app.rootGraph.id ? app.rootGraph : null
  const found = nodeIn(path.reduce((graph, step) => nodeIn(graph, step)?.subgraph, root), last)
  return found?.comfyClass === comfyClass ? found : null
}

const nodeIn = (graph, id) => graph?.getNodeById(id) ?? graph?.getNodeById(Number(id))

export const keyOf = ({ workflow, node }) => `${workflow}/${node}`

/** What all nodes of a class show: kept by workflow and node, because nodes come and go with the workflow on the page. */
export class Shown {
  constructor(comfyClass, View) {
    this.comfyClass = comfyClass
    this.View = View
    this.newest = new Map() // key → content
    this.views = new WeakMap() // node → View
  }

  show(content) {
    this.newest.set(keyOf(content), content)
    const node = findNode(content, this.comfyClass)
    if (node) this.on(node).show(content)
  }

  on(node) {
    if (!this.views.has(node)) this.views.set(node, new this.View(node))
    return this.views.get(node)
  }

  restore() {
    for (const content of [...this.newest.values()]) this.show(content)
  }
}

/** Put a box on a node, only to look at: nothing of it is saved. `leave` is called when it goes. */
export function addBox(node, name, outer, options, leave) {
  const widget = node.addDOMWidget(name, name.toUpperCase(), outer, { serialize: false, hideOnZoom: false, ...options })
  widget.serialize = false
  const before = widget.onRemove
  widget.onRemove = () => { leave(); before?.call(widget) }
}
