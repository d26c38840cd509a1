/** One picture of two layers, before left of a line and after right of it, zoomed and moved together. */

import { app } from '../../../scripts/app.js'
import { el, say } from './dom.mjs'

const STEP = 0.02 // of the width, for one press of an arrow key
const MOST_ZOOM = 16

export class DividedView {
  constructor() {
    this.at = 0.5
    this.zoom = 1
    this.pan = [0, 0] // of the size of the picture
    this.sides = { after: el('div', { className: 'side after' }), before: el('div', { className: 'side before' }) }
    this.divider = el('div', {
      className: 'divider', role: 'slider', tabIndex: 0, 'aria-label': say('Line between before and after'),
      'aria-valuemin': 0, 'aria-valuemax': 100, 'aria-orientation': 'horizontal',
      onkeydown: (event) => this.moveByKey(event), onpointerdown: (event) => this.drag(event, this.moveTo),
    })
    const names = ['Before', 'After'].map((text) => el('span', { className: `name ${text}`, textContent: say(text) }))
    this.frame = el('div', { className: 'frame', onpointerdown: (event) => this.drag(event, this.zoom > 1 ? this.panBy : this.moveTo) },
      this.sides.after, this.sides.before, ...names, this.divider)
    this.stage = el('div', { className: 'stage', tabIndex: 0, role: 'group', 'aria-label': say('Comparison'),
      onwheel: (event) => this.wheel(event), ondblclick: () => this.setZoom(1) }, this.frame)
    this.place()
  }

  /** Put two elements of the same picture in, of (width, height). */
  fill(elements, [width, height]) {
    for (const [side, element] of Object.entries(elements)) this.sides[side].replaceChildren(element)
    this.frame.style.setProperty('--ratio', width / height)
    this.size = [width, height]
    this.setZoom(1)
  }

  place() {
    this.frame.style.setProperty('--at', `${this.at * 100}%`)
    this.frame.style.setProperty('--move', `translate(${this.pan[0] * 100}%, ${this.pan[1] * 100}%) scale(${this.zoom})`)
    this.divider.setAttribute('aria-valuenow', Math.round(this.at * 100))
  }

  moveTo(x) {
    this.at = Math.min(1, Math.max(0, x))
    this.place()
  }

  panBy(_x, _y, dx, dy) {
    const most = (this.zoom - 1) / 2
    this.pan = [dx, dy].map((by, axis) => Math.min(most, Math.max(-most, this.pan[axis] + by)))
    this.place()
  }

  setZoom(zoom) {
    this.zoom = Math.min(MOST_ZOOM, Math.max(1, zoom))
    this.panBy(0, 0, 0, 0)
  }

  /** Follow the pointer until it is let go; positions are parts of the picture. */
  drag(event, action) {
    if (event.button) return
    event.stopPropagation()
    const target = event.currentTarget
    target.setPointerCapture(event.pointerId)
    let last = [event.clientX, event.clientY]
    const move = ({ clientX, clientY }) => {
      const { left, top, width, height } = this.frame.getBoundingClientRect()
      action.call(this, (clientX - left) / width, (clientY - top) / height, (clientX - last[0]) / width, (clientY - last[1]) / height)
      last = [clientX, clientY]
    }
    move(event)
    target.addEventListener('pointermove', move)
    const end = () => target.removeEventListener('pointermove', move)
    for (const name of ['pointerup', 'pointercancel']) target.addEventListener(name, end, { once: true })
  }

  /** The wheel zooms the picture once that was clicked; before, it is the graph's. */
  wheel(event) {
    if (!this.stage.contains(this.stage.getRootNode().activeElement)) {
      if (!LiteGraph.vueNodesMode) app.canvas.processMouseWheel(event)
      return
    }
    event.preventDefault()
    event.stopPropagation()
    this.setZoom(this.zoom * Math.exp(-event.deltaY / 500))
  }

  moveByKey(event) {
    const steps = { ArrowLeft: -STEP, ArrowDown: -STEP, ArrowRight: STEP, ArrowUp: STEP, Home: -1, End: 1 }
    if (!(event.key in steps)) return
    event.preventDefault()
    this.moveTo(this.at + steps[event.key] * (event.shiftKey ? 5 : 1))
  }

  /** The whole picture as a PNG, divided where the line is. */
  async picture() {
    const [width, height] = this.size
    const sheet = el('canvas', { width, height })
    const pen = sheet.getContext('2d')
    const at = Math.round(this.at * width)
    pen.drawImage(this.sides.after.firstChild, 0, 0, width, height)
    pen.fillStyle = 'white'
    pen.fillRect(at - 1, 0, 2, height)
    pen.rect(0, 0, at - 1, height)
    pen.clip()
    pen.drawImage(this.sides.before.firstChild, 0, 0, width, height)
    return new Promise((resolve) => sheet.toBlob(resolve))
  }
}
