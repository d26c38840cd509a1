/** Source and result in one picture with a line to drag: both play, zoom and pan together. */

import { box, button, el, number, say } from './dom.mjs'
import { DividedView } from './divided_view.mjs'
import { addBox, Shown } from './graph.mjs'
import { viewUrl, workflowOf } from './server.mjs'

const COMPARE = 'SeedVR2Anywhere.Compare'
const DRIFT = 1.5 // frames that the two may be apart before the source is set right

/** Show what a run of a Compare node made. */
export async function take({ node, prompt_id: prompt, output }) {
  shown.show({ node, workflow: await workflowOf(prompt), ...output.seedvr2_compare[0] })
}

class Comparer {
  constructor(node) {
    this.view = new DividedView()
    this.hint = el('p', { className: 'hint', textContent: say('Run to compare.') })
    this.note = el('p', { className: 'facts', role: 'status' })
    this.view.stage.append(this.hint)
    this.view.stage.addEventListener('keydown', (event) => this.key(event))
    const { outer, inner } = box('compare', this.view.stage, this.controls(), this.note)
    outer.dataset.captureWheel = 'true' // Nodes 2.0: the wheel is ours while something here has the focus
    this.inner = inner
    addBox(node, 'seedvr2_compare', outer, { getMinHeight: () => 300 }, () => { this.unload(); shown.views.delete(node) })
    if (node.size[0] < 420) node.setSize([420, Math.max(node.size[1], 460)])
  }

  controls() {
    this.position = el('input', { type: 'range', min: 0, value: 0, 'aria-label': say('Position'), oninput: () => this.seek(this.position.valueAsNumber) })
    this.count = el('span', { className: 'facts' })
    const symbol = (text, label, key, action) => button(text, action, {
      'aria-label': say(label), title: `${say(label)} (${key})`, 'aria-keyshortcuts': key,
    })
    this.play = symbol('▶', 'Play or pause', 'Space', () => this.toggle())
    this.play.className = 'play'
    this.sound = button('Sound', () => this.mute(!this.media.after.muted), { className: 'sound', 'aria-pressed': 'false' })
    const rows = [
      [this.play, symbol('‹', 'One frame back', ',', () => this.step(-1)), symbol('›', 'One frame on', '.', () => this.step(1)),
        this.position, this.count, this.sound],
      [symbol('−', 'Zoom out', '-', () => this.view.setZoom(this.view.zoom / 1.5)),
        symbol('+', 'Zoom in', '+', () => this.view.setZoom(this.view.zoom * 1.5)),
        symbol(say('Fit'), 'Fit', '0', () => this.view.setZoom(1)), button('Save picture', () => this.savePicture())],
    ]
    return el('div', { className: 'rows' }, ...rows.map((row) => el('div', { className: 'row' }, ...row)))
  }

  /** Load both sides: films, or series of pictures. */
  show(content) {
    this.unload()
    this.content = content
    this.isFilm = content.kind === 'video'
    this.media = { before: this.element('before'), after: this.element('after') }
    const { before, after } = this.media
    this.view.fill(this.media, content.size)
    this.position.max = Math.max(0, content.frames - 1)
    this.inner.classList.add('loaded')
    this.inner.classList.toggle('film', this.isFilm)
    this.inner.classList.toggle('single', content.frames < 2)
    this.note.textContent = content.note
    if (this.isFilm) {
      after.addEventListener('play', () => { before.play().catch(() => {}); this.follow() })
      after.addEventListener('pause', () => before.pause())
      after.addEventListener('ended', () => { this.seek(0); after.play() })
      this.mute(true)
      after.play().catch(() => {}) // a browser may wait for the first click
    }
    this.seek(0)
  }

  element(side) {
    const lost = () => { this.note.textContent = say('The file is not there any more. Run again.') }
    const source = viewUrl(this.content[side][0])
    if (!this.isFilm) return el('img', { src: source, alt: say(side), draggable: false, onerror: lost })
    return el('video', { src: source, muted: true, playsInline: true, preload: 'auto', tabIndex: -1, onerror: lost })
  }

  unload() {
    cancelAnimationFrame(this.following)
    for (const element of Object.values(this.media ?? {})) {
      element.pause?.()
      element.removeAttribute('src')
      element.load?.()
    }
    this.media = null
  }

  toggle() {
    const film = this.media?.after
    if (this.isFilm && film) film.paused ? film.play() : film.pause()
  }

  step(by) {
    if (!this.media) return
    if (this.isFilm) this.media.after.pause()
    const last = this.content.frames - 1
    this.seek(Math.min(last, Math.max(0, this.index() + by)))
  }

  index() {
    return this.isFilm ? Math.floor(this.media.after.currentTime * this.content.rate + 1e-3) : Number(this.position.value)
  }

  seek(index) {
    if (!this.media) return
    for (const [side, element] of Object.entries(this.media)) {
      // the middle of a frame, so that rounding never shows its neighbour
      if (this.isFilm) element.currentTime = (index + 0.5) / this.content.rate
      else element.src = viewUrl(this.content[side][Math.min(index, this.content[side].length - 1)])
    }
    this.tell(index)
  }

  tell(index) {
    this.position.value = index
    this.count.textContent = `${number(index + 1)} / ${number(this.content.frames)}`
    if (this.isFilm) this.play.textContent = this.media.after.paused ? '▶' : '❚❚'
  }

  /** While the result plays, the source is kept at its side. */
  follow() {
    cancelAnimationFrame(this.following)
    const look = () => {
      if (!this.media) return
      const { before, after } = this.media
      if (Math.abs(before.currentTime - after.currentTime) * this.content.rate > DRIFT && !before.seeking) before.currentTime = after.currentTime
      this.tell(Math.min(this.index(), this.content.frames - 1))
      if (after.paused) before.currentTime = after.currentTime
      else this.following = requestAnimationFrame(look)
    }
    look()
  }

  mute(isMuted) {
    if (!this.isFilm) return
    this.media.after.muted = isMuted
    this.sound.setAttribute('aria-pressed', String(!isMuted))
  }

  key(event) {
    const key = event.key === ' ' ? 'Space' : event.key
    const meant = [...this.inner.querySelectorAll('button')].find((one) => one.getAttribute('aria-keyshortcuts') === key)
    if (!meant || event.ctrlKey || event.metaKey) return
    event.preventDefault()
    meant.click()
  }

  async savePicture() {
    if (!this.media) return
    const href = URL.createObjectURL(await this.view.picture())
    el('a', { href, download: `${this.content.name}_${this.index() + 1}.png` }).click()
    setTimeout(() => URL.revokeObjectURL(href), 1000)
  }
}

export const shown = new Shown(COMPARE, Comparer)
