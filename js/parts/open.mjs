/** Ways to other places of the page. */

import { app } from '../../../scripts/app.js'
import { button, say } from './dom.mjs'

const NOTE = 'seedvr2-needs-token'
const LIFE_MS = 30_000

/** ComfyUI's settings, at this pack's section. */
export async function openSettings() {
  await app.extensionManager.command.execute('Comfy.ShowSettingsDialog')
  await appearing('[data-nav-id$="SeedVR2 Anywhere"]').then((entry) => entry?.click())
}

/** A note with a link to the settings: the run needs a token and there is none. */
export async function askForToken() {
  const { toast } = app.extensionManager
  const [summary, detail, label] = ['RunComfy token', 'The run needs a token and none is set.', 'Open settings'].map((text) => say(text))
  if (toast.warning) return toast.warning(summary, { description: detail, duration: LIFE_MS, action: { label, onClick: openSettings } })
  // notes of older frontends have no buttons, and they lie over what ComfyUI says of the error
  toast.add({ severity: 'warn', summary, detail, styleClass: NOTE, life: LIFE_MS })
  const text = await appearing(`.${NOTE} .p-toast-message-text:not(:has(button))`)
  text?.append(button('Open settings', openSettings, { className: 'underline bg-transparent border-none cursor-pointer p-0 self-start' }))
  const error = await appearing('[data-testid="error-overlay"]')
  if (error) text?.closest('.p-toast-message').style.setProperty('margin-top', `${error.offsetHeight}px`)
}

async function appearing(selector) {
  for (let tries = 0; tries < 20; tries++) {
    const found = document.querySelector(selector)
    if (found) return found
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
