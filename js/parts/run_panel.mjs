/** The live run on the Upscale node: plan, stage, frames, time left, hosted segments and cost. */

import { app } from '../../../scripts/app.js'
import { box, button, dollars, duration, el, frameCount, nameOfState, number, say } from './dom.mjs'
import { findNode } from './graph.mjs'
import { openSettings } from './open.mjs'
import { get } from './server.mjs'

const UPSCALE = 'SeedVR2Anywhere.Upscale'
const NO_TOKEN = 'No RunComfy token'
const LOST = 'The server was restarted. Press Run: what is finished is kept.'
const BLANK = { state: 'done', plan: '', frames: 0, expected: null, cost_usd: null, seconds_left: null, segments: [], text: '' }

const statuses = new Map() // key → newest status; nodes come and go, for instance with the workflow shown
const panels = new WeakMap() // node → panel

const keyOf = ({ workflow, node }) => `${workflow ?? ''}/${node}`

/** Show what the server said of a run on its node, if that is part of the graph on the page. */
export function show(status) {
  statuses.set(keyOf(status), status)
  const node = nodeOf(status)
  if (!node) return
  if (!panels.has(node)) panels.set(node, new Panel(node))
  panels.get(node).show(status)
}

/** Ask the server once about all recent runs: after a reload, a lost connection or a restart. */
export async function catchUp() {
  const before = new Map(statuses)
  const newest = new Map((await get('/seedvr2/runs')).map((status) => [keyOf(status), status])) // the oldest come first
  for (const [key, status] of before) {
    if (status.state === 'running' && !newest.has(key)) newest.set(key, { ...status, state: 'stopped', text: say(LOST) })
  }
  for (const [key, status] of newest) {
    const isNewer = statuses.get(key) === before.get(key) // nothing was heard while this was on its way
    if (isNewer && (status.state === 'running' || before.has(key))) show(status)
  }
}

/** A run left nodes out because nothing changed for them: their panels say so. */
export async function showReused({ prompt_id: prompt, nodes }) {
  const { workflow_id: workflow } = await get(`/jobs/${prompt}`)
  for (const one of nodes.map((node) => ({ workflow, node })).filter(nodeOf)) {
    // a graph that was never saved has an id here and none in what the server tells
    const known = statuses.get(keyOf(one)) ?? statuses.get(keyOf({ node: one.node }))
    show({ ...(known ?? { ...BLANK, ...one }), reused: true })
  }
}

/** Put the panels back on nodes that were made anew, as when another workflow is shown. */
export function restore() {
  for (const status of [...statuses.values()]) show(status)
}

function nodeOf({ workflow, node }) {
  return workflow && workflow !== app.rootGraph.id ? null : findNode(node, UPSCALE)
}

class Panel {
  constructor(node) {
    this.node = node
    this.head = el('div', { className: 'head' })
    this.plan = el('p', { className: 'plan' })
    this.bar = el('progress', { max: 1 })
    this.facts = el('p', { className: 'facts' })
    this.segments = el('table', { className: 'segments' })
    this.text = el('p', { className: 'text', role: 'status' })
    this.more = el('div')
    const { outer, inner } = box('run', this.head, this.bar, this.facts, this.plan, this.segments, this.text, this.more)
    inner.setAttribute('role', 'group')
    inner.setAttribute('aria-label', say('Live run'))
    this.height = 60
    const widget = node.addDOMWidget('seedvr2_run', 'SEEDVR2_RUN', outer, {
      serialize: false, hideOnZoom: false, getMinHeight: () => this.height, getMaxHeight: () => this.height,
    })
    widget.serialize = false // a display only: nothing of it is saved with the workflow
    this.observer = new ResizeObserver(() => this.fit(inner))
    this.observer.observe(inner)
    const before = widget.onRemove
    widget.onRemove = () => { this.observer.disconnect(); panels.delete(node); before?.call(widget) }
  }

  show(status) {
    const shot = status.shot ? say('shot {n}', { n: number(status.shot) }) : ''
    const reused = status.reused ? say('Reused, nothing computed or paid.') : ''
    const stage = status.state === 'running' ? [say(status.stage), shot].filter(Boolean).join(' · ') : reused
    this.head.replaceChildren(el('span', { className: `state ${status.state}`, textContent: nameOfState(status.state) }), stage)
    this.plan.textContent = status.plan
    this.showFrames(status)
    this.showSegments(status.segments)
    this.text.textContent = status.text
    const asksForToken = status.state === 'failed' && status.text.includes(NO_TOKEN)
    this.more.replaceChildren(asksForToken ? button('Open settings', openSettings) : '')
  }

  showFrames({ state, frames, expected, frames_per_second: rate, seconds_left: left, cost_usd: cost }) {
    this.bar.hidden = state !== 'running' && !frames
    if (expected && (frames || state !== 'running')) this.bar.value = Math.min(1, frames / expected)
    else this.bar.removeAttribute('value') // moves by itself
    const count = frameCount(frames, expected)
    this.bar.setAttribute('aria-label', count)
    const facts = frames || state === 'running' ? [count] : []
    if (rate && state === 'running') facts.push(say('{n} fps', { n: number(rate, { maximumSignificantDigits: 3 }) }))
    if (left !== null && state === 'running') facts.push(say('{time} left', { time: duration(left) }))
    if (cost !== null) facts.push(say('{cost} so far', { cost: dollars(cost) }))
    this.facts.textContent = facts.join(' · ')
  }

  showSegments(segments) {
    const row = ({ index, first, last, state, text, request }) => el('tr', { className: state, title: request },
      el('td', { textContent: number(index + 1) }), el('td', { textContent: `${number(first + 1)}–${number(last + 1)}` }),
      el('td', { textContent: say(state) }), el('td', { textContent: text }))
    const names = ['Segment', 'Frames', 'State', ''].map((name) => el('th', { scope: 'col', textContent: say(name) }))
    this.segments.hidden = !segments.length
    this.segments.replaceChildren(el('thead', {}, el('tr', {}, ...names)), el('tbody', {}, ...segments.map(row)))
  }

  /** Give the node the room that the panel needs; Nodes 2.0 does that by itself. */
  fit(inner) {
    const wanted = Math.ceil(inner.offsetHeight) + 20 // the frontend's margin, above and below
    if (!inner.offsetHeight || wanted === this.height) return
    const [width, height] = this.node.size
    if (!LiteGraph.vueNodesMode) this.node.setSize([width, height + wanted - this.height])
    this.height = wanted
    this.node.setDirtyCanvas(true, true)
  }
}
