/** Nodes of the graph on the page. */

import { app } from '../../../scripts/app.js'

/** The node that the server calls `id`, if it is one of a class: ids of nodes in subgraphs are paths like 12:35. */
export function findNode(id, comfyClass) {
  const path = String(id).split(':')
  const last = path.pop()
  const inner = path.reduce((graph, step) => nodeIn(graph, step)?.subgraph, app.rootGraph)
  const found = nodeIn(inner, last)
  return found?.comfyClass === comfyClass ? found : null
}

const nodeIn = (graph, id) => graph?.getNodeById(id) ?? graph?.getNodeById(Number(id))
