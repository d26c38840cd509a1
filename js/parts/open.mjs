/** Ways to other places of the page. */

import { app } from '../../../scripts/app.js'
import { button, say } from './dom.mjs'

/** ComfyUI's settings, at this pack's section. */
export async function openSettings() {
  await app.extensionManager.command.execute('Comfy.ShowSettingsDialog')
  const entry = await appearing('[data-nav-id$="SeedVR2 Anywhere"]')
  entry?.click()
}

/** A note with a link to the settings: the run needs a token and there is none. */
export async function askForToken() {
  const detail = say('The run needs a RunComfy token and none is set. Nothing was sent.')
  const styleClass = 'seedvr2-needs-token'
  const { toast } = app.extensionManager
  const action = { label: say('Open settings'), onClick: openSettings }
  if (toast.warning) return toast.warning(say('RunComfy token'), { description: detail, duration: 30000, action })
  // notes of older frontends have no buttons
  toast.add({ severity: 'warn', summary: say('RunComfy token'), detail, styleClass, life: 30000 })
  const text = await appearing(`.${styleClass} .p-toast-message-text:not(:has(button))`)
  text?.append(button('Open settings', openSettings, { className: 'underline bg-transparent border-none cursor-pointer p-0 self-start' }))
}

async function appearing(selector) {
  for (let tries = 0; tries < 20; tries++) {
    const found = document.querySelector(selector)
    if (found) return found
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return null
}
