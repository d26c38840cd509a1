/** The jobs panel: what was run here and on RunComfy, how far it is, and what can be done with it. */

import { api } from '../../../scripts/api.js'
import { app } from '../../../scripts/app.js'
import { box, button, bytes, dollars, el, frameCount, nameOfState, number, say, toast } from './dom.mjs'
import { get, post, viewUrl } from './server.mjs'

const LEAST_MS = 1000 // between two looks at the list while a run tells how far it is

/** Draw the panel; the answer takes it away again. */
export function open(place) {
  const panel = new JobsPanel()
  place.replaceChildren(panel.outer)
  return () => panel.close()
}

class JobsPanel {
  constructor() {
    this.list = el('ul', { 'aria-label': say('Jobs') })
    this.summary = el('p', { className: 'facts', role: 'status' })
    const head = el('div', { className: 'row' }, el('h2', { textContent: say('SeedVR2 jobs') }), button('Refresh', () => this.refresh()))
    this.outer = box('jobs', head, this.summary, this.list).outer
    this.cards = new Map()
    this.listener = () => this.refreshSoon()
    for (const event of ['seedvr2.run', 'status', 'reconnected']) api.addEventListener(event, this.listener)
    this.refresh()
  }

  close() {
    clearTimeout(this.timer)
    for (const event of ['seedvr2.run', 'status', 'reconnected']) api.removeEventListener(event, this.listener)
  }

  refreshSoon() {
    this.timer ??= setTimeout(() => this.refresh(), LEAST_MS)
  }

  async refresh() {
    clearTimeout(this.timer)
    this.timer = null
    try {
      const { jobs, bytes: size } = await get('/seedvr2/jobs')
      const none = say('No jobs yet. Press Run on a graph with SeedVR2 Upscale.')
      this.summary.textContent = jobs.length ? say('{n} jobs, {size}', { n: number(jobs.length), size: bytes(size) }) : none
      this.draw(jobs)
    } catch (error) {
      this.summary.textContent = say('The list cannot be read: {why}', { why: error.message })
    }
  }

  /** Cards that say the same are left alone, so that focus and an open question stay. */
  draw(jobs) {
    const before = this.cards
    this.cards = new Map(jobs.map((job) => {
      const text = JSON.stringify(job)
      const known = before.get(job.name)
      return [job.name, known?.text === text ? known : { text, card: this.card(job) }]
    }))
    const wanted = [...this.cards.values()].map(({ card }) => card)
    const shown = this.list.children
    if (wanted.length !== shown.length || wanted.some((card, index) => card !== shown[index])) this.list.replaceChildren(...wanted)
  }

  card(job) {
    const size = job.size.length ? `${job.size[0]} × ${job.size[1]}` : ''
    const count = frameCount(job.frames, job.expected)
    const when = new Date(job.updated * 1000).toLocaleString()
    const cost = job.cost_usd === null ? '' : dollars(job.cost_usd)
    const picture = job.poster ? el('img', { src: viewUrl(job.poster), alt: '', loading: 'lazy' }) : el('div', { className: 'blank' })
    const part = job.expected ? Math.min(1, job.frames / job.expected) : 0
    const bar = el('progress', { max: 1, value: part, 'aria-label': count, hidden: job.state === 'done' })
    return el('li', { title: job.plan, 'data-job': job.name }, picture, el('div', {},
      el('p', {}, el('span', { className: `state ${job.state}`, textContent: nameOfState(job.state) }), el('b', { textContent: job.title })),
      el('p', { className: 'facts', textContent: [job.backend, size, count, bytes(job.bytes), cost, job.model].filter(Boolean).join(' · ') }), bar,
      el('p', { className: 'message failed', textContent: job.error }), el('p', { className: 'facts', textContent: when }),
      el('div', { className: 'row' }, ...this.actions(job))))
  }

  actions(job) {
    const act = (text, action) => button(text, async ({ currentTarget }) => {
      currentTarget.disabled = true
      try {
        await action()
      } catch (error) {
        toast('error', say(text), error.message)
      }
      currentTarget.disabled = false
      await this.refresh()
    }, { 'aria-label': `${say(text)}: ${job.title}` })
    const path = `/seedvr2/jobs/${encodeURIComponent(job.name)}`
    // without a prompt it is another program's run, which is not ours to stop
    if (job.state === 'running') return job.prompt ? [act('Cancel', () => post('/interrupt', { prompt_id: job.prompt }))] : []
    return [
      job.has_result ? act('Open result', async () => window.open(viewUrl(await post(`${path}/open`)), '_blank', 'noopener')) : '',
      job.state !== 'done' && job.can_continue ? act('Continue', async () => queue(await get(`${path}/prompt`))) : '',
      job.state !== 'done' && job.frames ? act('Save finished part', () => post(`${path}/save`).then(tellSaved)) : '',
      act('Delete', async () => {
        const message = say('Delete {title} and all its files? What was paid for it is not paid back.', { title: job.title })
        if (await app.extensionManager.dialog.confirm({ title: say('Delete job'), message, type: 'delete' })) await post(`${path}/delete`)
      }),
    ]
  }
}

async function queue(body) {
  await post('/prompt', { ...body, client_id: api.clientId })
  toast('success', say('Queued'), say('What is finished is kept.'), 4000)
}

const tellSaved = ({ path, frames }) => toast('success', say('Saved'), say('{n} frames in {path}', { n: number(frames), path }))
