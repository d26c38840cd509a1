/** SeedVR2 Anywhere on ComfyUI's page. Only what registers stands here; the rest is fetched when it is needed. */

import { api } from '../../scripts/api.js'
import { app } from '../../scripts/app.js'

const NO_ID = '00000000-0000-0000-0000-000000000000'
const [UPSCALE, COMPARE] = ['SeedVR2Anywhere.Upscale', 'SeedVR2Anywhere.Compare']
const parts = {} // promises of what was fetched; one for each, so that events are heard in their order
let wasAsked = false // about runs that were going when the page was opened
let hasUpscale = false

const part = (name) => parts[name] ??= import(`./parts/${name}.mjs`)
const panels = () => part('run_panel')

const LISTENERS = {
  'seedvr2.run': async ({ detail }) => { (await panels()).shown.show(detail) },
  reconnected: async () => { if (parts.run_panel) (await panels()).catchUp() },
  execution_error: async ({ detail }) => { if (detail?.exception_message?.includes('No RunComfy token')) (await part('open')).askForToken() },
  executed: async ({ detail }) => { if (detail.output?.seedvr2_compare) (await part('compare')).take(detail) },
  execution_cached: async ({ detail }) => { if (hasUpscale && detail.nodes.length) (await panels()).showReused(detail) },

  /** A page opened while something runs asks once how far it is. */
  async status({ detail }) {
    if (wasAsked || detail === null) return
    wasAsked = true
    if (detail.exec_info?.queue_remaining) (await panels()).catchUp()
  },
}

// at once, not in setup(): the server's first word about its queue comes before that
for (const [event, listener] of Object.entries(LISTENERS)) api.addEventListener(event, listener)

/** Nodes 2.0 hides advanced widgets, so a node must not be given their height; what it shows makes room for itself. */
function fitHeight(node) {
  const whole = node.computeSize
  node.computeSize = (...given) => {
    const size = whole.apply(node, given)
    const hidden = LiteGraph.vueNodesMode ? node.widgets.filter((one) => one.options?.advanced).length : 0
    size[1] -= hidden * LiteGraph.NODE_WIDGET_HEIGHT
    return size
  }
  node.setSize([node.size[0], node.computeSize()[1]])
}

/** A row of the settings section; what is in it is asked for when it is shown. */
function setting(id, group, key, name, tooltip) {
  const type = () => {
    const place = document.createElement('div')
    part('settings').then(({ fill }) => fill(place, key, name))
    return place
  }
  return { id: `SeedVR2Anywhere.${id}`, category: ['SeedVR2 Anywhere', group, id], name, tooltip, type, defaultValue: null }
}

app.registerExtension({
  name: 'SeedVR2Anywhere',

  settings: [
    setting('Token', 'RunComfy', 'token', 'RunComfy token', 'Kept on the server in a file of its own; it is never sent back to this page.'),
    setting('AutoMayPay', 'RunComfy', 'auto_may_pay', 'Backend auto may upload and pay', 'Off: auto never leaves this computer.'),
    setting('RunLimit', 'RunComfy', 'run_limit_usd', 'Most dollars per run (backend auto)', 'The backend RunComfy has its own widget on the node.'),
    setting('DayLimit', 'RunComfy', 'day_limit_usd', 'Most dollars in 24 hours (all runs)', 'Empty is no limit.'),
    setting('MaxRequests', 'RunComfy', 'max_requests', 'Most requests per run without a known price (backend auto)', 'Price unknown is never taken for free.'),
    setting('InFlight', 'RunComfy', 'in_flight', 'Requests in flight (backend auto)', 'Segments processed at the same time.'),
    setting('Storage', 'RunComfy', 'storage', 'Upload storage', 'Where clips are put for RunComfy when no public link is given.'),
    setting('JobsLimit', 'Jobs', 'jobs_limit_gb', 'Keep finished results up to (GB)', 'Oldest go first. 0 is no limit. Unfinished and paid work always stays.'),
    setting('JobsFolder', 'Jobs', 'jobs_folder', 'Job folder', 'Where runs keep their work and results. SEEDVR2_JOBS moves it.'),
  ].map((row, index) => ({ ...row, sortOrder: 100 - index })),

  setup() {
    let panel = null // promise of what closes it
    app.extensionManager.sidebarTab.registerSidebarTab({
      id: 'seedvr2-jobs', icon: 'pi pi-history', title: 'SeedVR2 jobs', tooltip: 'SeedVR2 jobs', label: 'SeedVR2', type: 'custom',
      render: (place) => { panel ??= part('jobs').then(({ open }) => open(place)) },
      destroy: () => { panel?.then((close) => close()); panel = null },
    })
  },

  async nodeCreated(node) {
    // runs are told by the graph's id; the frontend of ComfyUI 0.30.0 gives none to an emptied graph and what is put there
    if (app.rootGraph.id === NO_ID && !app.rootGraph.nodes.length) app.rootGraph.id = LiteGraph.uuidv4()
    if (node.comfyClass.startsWith('SeedVR2Anywhere.')) fitHeight(node)
    hasUpscale ||= node.comfyClass === UPSCALE
    if (node.comfyClass === COMPARE) (await part('compare')).shown.on(node)
  },

  async afterConfigureGraph() {
    for (const name of ['run_panel', 'compare']) (await parts[name])?.shown.restore()
  },
})
