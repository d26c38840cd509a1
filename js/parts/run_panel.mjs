/** The live run on the Upscale node: plan, stage, frames, time left, hosted segments and cost. */

import { box, dollars, duration, el, frameCount, nameOfState, number, say } from './dom.mjs'
import { addBox, findNode, keyOf, Shown } from './graph.mjs'
import { get, workflowOf } from './server.mjs'

const UPSCALE = 'SeedVR2Anywhere.Upscale'
const LOST = 'The server was restarted. Press Run: what is finished is kept.'
const MOST_ROWS = 8 // of segments; of more than these, only those that something happens to
const BLANK = { state: 'done', plan: '', frames: 0, expected: null, elapsed_seconds: 0, cost_usd: null, seconds_left: null, segments: [], text: '' }

/** Ask the server once about all recent runs: after a reload, a lost connection or a restart. */
export async function catchUp() {
  const before = new Map(shown.newest)
  const newest = new Map((await get('/seedvr2/runs')).map((status) => [keyOf(status), status])) // the oldest come first
  for (const [key, status] of before) {
    if (status.state === 'running' && !newest.has(key)) newest.set(key, { ...status, state: 'stopped', text: say(LOST) })
  }
  for (const [key, status] of newest) {
    const isNewer = shown.newest.get(key) === before.get(key) // nothing was heard while this was on its way
    if (isNewer && (status.state === 'running' || before.has(key))) shown.show(status)
  }
}

/** A run left nodes out because nothing changed for them: their panels say so. */
export async function showReused({ prompt_id: prompt, nodes }) {
  const workflow = await workflowOf(prompt)
  for (const one of nodes.map((node) => ({ workflow, node })).filter((status) => findNode(status, UPSCALE))) {
    shown.show({ ...(shown.newest.get(keyOf(one)) ?? { ...BLANK, ...one }), reused: true })
  }
}

/** What is to be expected: speed and time left, or, before anything is finished, what the plan foretold. */
function outlook({ frames, frames_per_second: rate, seconds_left: left, takes_seconds: takes }) {
  if (rate && left !== null) return say('{n} fps · {time} left', { n: number(rate, { maximumSignificantDigits: 3 }), time: duration(left) })
  if (frames || !takes) return ''
  const [least, most] = takes.map(duration)
  return least === most ? say('takes about {most}', { most }) : say('takes {least} to {most}', { least, most })
}

function finished(segments) {
  const done = segments.filter(({ state }) => state === 'done').length
  return segments.length > 1 ? say('{done} of {all} segments', { done: number(done), all: number(segments.length) }) : ''
}

class Panel {
  constructor(node) {
    this.node = node
    this.head = el('p')
    this.time = el('p', { className: 'time', role: 'timer' })
    this.plan = el('p', { className: 'plan' })
    this.bar = el('progress', { max: 1 })
    this.facts = el('p', { className: 'facts' })
    this.segments = el('table', { className: 'segments' })
    this.text = el('p', { className: 'text', role: 'status' })
    const { outer, inner } = box('run', this.head, this.time, this.bar, this.facts, this.segments, this.text, this.plan)
    inner.setAttribute('role', 'group')
    inner.setAttribute('aria-label', say('Live run'))
    this.height = 60
    this.observer = new ResizeObserver(() => this.fit(inner))
    this.observer.observe(inner)
    addBox(node, 'seedvr2_run', outer, { getMinHeight: () => this.height, getMaxHeight: () => this.height }, () => this.leave())
  }

  show(status) {
    const shot = status.shot && status.backend === 'local' ? say('shot {n}', { n: number(status.shot) }) : ''
    const reused = status.reused ? say('Reused, nothing computed or paid.') : ''
    const stage = status.state === 'running' ? [say(status.stage), shot].filter(Boolean).join(' · ') : reused
    this.head.replaceChildren(el('span', { className: `state ${status.state}`, textContent: nameOfState(status.state) }), stage)
    this.plan.textContent = status.plan
    this.showTime(status.elapsed_seconds, status.state === 'running')
    this.showFrames(status)
    this.showSegments(status.segments)
    this.text.textContent = status.text
  }

  leave() {
    this.observer.disconnect()
    clearTimeout(this.timer)
    shown.views.delete(this.node)
  }

  /** Seconds since the run began, which go on between what the server says. */
  showTime(seconds, isRunning) {
    clearTimeout(this.timer)
    this.time.textContent = seconds ? duration(seconds) : ''
    if (isRunning) this.timer = setTimeout(() => this.showTime(seconds + 1, isRunning), 1000)
  }

  showFrames(status) {
    const { frames, expected, cost_usd: cost } = status
    const isRunning = status.state === 'running'
    const count = frameCount(frames, expected)
    this.bar.hidden = !isRunning && !frames
    this.bar.setAttribute('aria-label', count)
    if (expected && (frames || !isRunning)) this.bar.value = Math.min(1, frames / expected)
    else this.bar.removeAttribute('value') // moves by itself
    const paid = cost === null ? '' : say(isRunning ? '{cost} so far' : 'cost {cost}', { cost: dollars(cost) })
    const facts = [frames ? count : '', isRunning ? outlook(status) : '', finished(status.segments), paid]
    this.facts.textContent = facts.filter(Boolean).join(' · ')
  }

  showSegments(segments) {
    const isShown = ({ state }) => segments.length <= MOST_ROWS || !['waiting', 'done'].includes(state)
    const row = ({ index, first, last, state, text, request }) => el('tr', { className: state, title: request },
      el('td', { textContent: number(index + 1) }), el('td', { textContent: `${number(first + 1)}–${number(last + 1)}` }),
      el('td', { textContent: say(state) }), el('td', { textContent: text }))
    const names = ['#', 'Frames', 'State', ''].map((name) => el('th', { scope: 'col', textContent: say(name) }))
    this.segments.hidden = !segments.length
    this.segments.replaceChildren(el('thead', {}, el('tr', {}, ...names)), el('tbody', {}, ...segments.filter(isShown).map(row)))
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

export const shown = new Shown(UPSCALE, Panel)
