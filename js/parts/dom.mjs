/** Building blocks of everything this pack shows on ComfyUI's page. */

import { app } from '../../../scripts/app.js'

const FOLDER = new URL('../', import.meta.url)
const LANGUAGE = String(app.extensionManager.setting.get('Comfy.Locale') ?? 'en').split('-')[0]
const TRANSLATED = ['zh']
const words = TRANSLATED.includes(LANGUAGE) ? await (await fetch(new URL(`words/${LANGUAGE}.json`, FOLDER))).json() : {}

/** A text in the language of ComfyUI's settings; {name} is replaced by the value of that name. */
export function say(text, values = {}) {
  return (words[text] ?? text).replace(/\{(\w+)\}/g, (_, name) => values[name])
}

/** A number as people of the chosen language write it. */
export function number(value, options = {}) {
  return new Intl.NumberFormat(LANGUAGE, options).format(value)
}

const STATES = { running: 'Running', done: 'Done', stopped: 'Stopped', failed: 'Failed' }
export const nameOfState = (state) => say(STATES[state] ?? state)
export const frameCount = (done, all) => say(all ? '{done} of {all} frames' : '{done} frames', { done: number(done), all: number(all ?? 0) })
export const dollars = (value) => number(value, { style: 'currency', currency: 'USD', maximumFractionDigits: 4 })

/** 75 → "1 min 15 s" */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds))
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60]
  if (hours) return say('{h} h {m} min', { h: hours, m: minutes })
  return minutes ? say('{m} min {s} s', { m: minutes, s: whole % 60 }) : say('{s} s', { s: whole })
}

/** 2.5e9 → "2.5 GB" */
export function bytes(size) {
  const step = Math.min(4, Math.floor(Math.log10(Math.max(size, 1)) / 3))
  return `${number(size / 1000 ** step, { maximumFractionDigits: step > 2 ? 1 : 0 })} ${['B', 'kB', 'MB', 'GB', 'TB'][step]}`
}

/** An element; properties named on… are listeners, others properties or, with a dash or unknown, attributes. */
export function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag)
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith('on')) made.addEventListener(name.slice(2), value)
    else if (name in made) made[name] = value
    else made.setAttribute(name, value)
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== ''))
  return made
}

export function button(text, onclick, properties = {}) {
  return el('button', { type: 'button', textContent: say(text), onclick, ...properties })
}

/** A box with styles of its own, which neither takes from the page's nor changes them. */
export function box(className, ...content) {
  const outer = el('div', { className: 'seedvr2' })
  const inner = el('div', { className }, ...content)
  outer.attachShadow({ mode: 'open' }).append(el('link', { rel: 'stylesheet', href: new URL('seedvr2.css', FOLDER).href }), inner)
  // keys typed here are not meant for the graph: Delete would remove the node
  inner.addEventListener('keydown', (event) => event.key === 'Escape' || event.ctrlKey || event.metaKey || event.stopPropagation())
  return { outer, inner }
}

/** Tell the user something beside the graph. */
export function toast(severity, summary, detail, life = 8000) {
  app.extensionManager.toast.add({ severity, summary, detail, life })
}
