/** SeedVR2 Anywhere on ComfyUI's page. Only what registers stands here; the rest is fetched when it is needed. */

import { api } from '../../scripts/api.js'
import { app } from '../../scripts/app.js'

const part = (name) => import(`./parts/${name}.mjs`)

let wasAsked = false // about runs that were going when the page was opened
let hasPanels = false

async function showRun(event) {
  hasPanels = true
  const { show } = await part('run_panel')
  show(event.detail)
}

/** A page opened while something runs asks once how far it is. */
async function noticeRunning(event) {
  if (wasAsked || event.detail === null) return
  wasAsked = true
  if (!event.detail.exec_info?.queue_remaining) return
  await catchUp()
}

async function catchUp() {
  hasPanels = true
  const { catchUp: ask } = await part('run_panel')
  await ask()
}

// at once, not in setup(): the server's first word about its queue comes before that
api.addEventListener('seedvr2.run', showRun)
api.addEventListener('status', noticeRunning)
api.addEventListener('reconnected', () => hasPanels && catchUp())

app.registerExtension({
  name: 'SeedVR2Anywhere',

  async afterConfigureGraph() {
    if (hasPanels) (await part('run_panel')).restore()
  },
})
