/** Ways to other places of the page. */

import { app } from '../../../scripts/app.js'

/** ComfyUI's settings, at this pack's section. */
export async function openSettings() {
  await app.extensionManager.command.execute('Comfy.ShowSettingsDialog')
  for (let tries = 0; tries < 20; tries++) {
    const entry = document.querySelector('[data-nav-id$="SeedVR2 Anywhere"]')
    if (entry) return entry.click()
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
