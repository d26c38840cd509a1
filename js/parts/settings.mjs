/** The rows of the settings section. Everything is kept on the server; the token goes there and never comes back. */

import { box, button, bytes, dollars, el, say } from './dom.mjs'
import { get, post, put, remove } from './server.mjs'

let asked = null // one answer serves all rows that are drawn together

const settings = () => (asked ??= get('/seedvr2/settings').finally(() => setTimeout(() => { asked = null }, 500)))

/** Fill the place of one row. */
export async function fill(place, name, label) {
  const message = el('p', { className: 'message', role: 'status' })
  const content = el('div', { className: 'controls' })
  const { outer } = box('setting', content, message)
  place.replaceChildren(outer)
  try {
    await (ROWS[name] ?? numberRow)({ content, message, label, name })
  } catch (error) {
    message.textContent = error.message
  }
}

const ROWS = { token: tokenRow, auto_may_pay: switchRow, day_limit_usd: dayRow, storage: storageRow, jobs_folder: folderRow } // others: numbers
const RANGES = {
  run_limit_usd: [0, 1000, 0.1], day_limit_usd: [0, 10000, 0.5], max_requests: [1, 1000, 1], in_flight: [1, 8, 1],
  jobs_limit_gb: [0, 100000, 1],
}
const STORAGES = {
  none: ['None', []],
  presigned: ['Signed addresses', [['storage_put_url', 'Address for PUT'], ['storage_get_url', 'Address for GET']]],
  s3: ['S3', [['s3_bucket', 'Bucket'], ['s3_endpoint', 'Endpoint'], ['s3_prefix', 'Prefix']]],
}

/** Run what a control asks for; says what came of it. */
async function doing(message, action, done = 'Saved.') {
  message.className = 'message'
  message.textContent = '…'
  try {
    message.textContent = (await action()) ?? say(done)
    return true
  } catch (error) {
    message.className = 'message failed'
    message.textContent = error.message
    return false
  }
}

async function save(row, changes, undo) {
  const saved = await doing(row.message, async () => { await post('/seedvr2/settings', changes) })
  if (!saved) undo?.()
  return saved
}

async function tokenRow({ content, message, label }) {
  const field = el('input', { type: 'password', autocomplete: 'off', spellcheck: false, 'aria-label': say(label), size: 24 })
  const status = el('p', { className: 'plan' })
  const store = button('Save', () => doing(message, async () => {
    const text = field.value
    field.value = '' // the page keeps no copy
    show((await put('/seedvr2/token', { token: text })).token)
  }))
  const clear = button('Clear', () => doing(message, async () => show((await remove('/seedvr2/token')).token), 'Cleared.'))
  const test = button('Test', () => doing(message, async () => {
    const { ok, message: text } = await post('/seedvr2/token/test')
    if (!ok) throw new Error(text)
    return text
  }))

  function show({ found, source, masked, saved, problem }) {
    status.textContent = found ? say('Set: {masked}, from {source}', { masked, source }) : say('Not set')
    status.title = problem
    field.placeholder = say(saved ? 'Type a new one to replace it' : 'Paste your token')
    clear.disabled = !saved
    test.disabled = !found
    store.disabled = !field.value
  }

  field.addEventListener('input', () => { store.disabled = !field.value })
  field.addEventListener('keydown', (event) => event.key === 'Enter' && field.value && store.click())
  show((await settings()).token)
  content.append(status, field, store, test, clear)
}

async function switchRow(row) {
  const field = el('input', { type: 'checkbox', role: 'switch', 'aria-label': say(row.label) })
  field.checked = (await settings()).settings[row.name]
  field.addEventListener('change', () => save(row, { [row.name]: field.checked }, () => { field.checked = !field.checked }))
  row.content.append(field)
}

async function numberRow(row) {
  const [min, max, step] = RANGES[row.name]
  let kept = (await settings()).settings[row.name]
  const field = el('input', { type: 'number', min, max, step, 'aria-label': say(row.label), value: kept ?? '' })
  field.addEventListener('change', async () => {
    const value = field.value === '' ? null : Number(field.value)
    if (await save(row, { [row.name]: value }, () => { field.value = kept ?? '' })) kept = value
  })
  row.content.append(field)
  return field
}

async function dayRow(row) {
  const field = await numberRow(row)
  field.placeholder = say('no limit')
  const { spent_usd: spent } = await settings()
  if (spent !== null) row.content.prepend(el('p', { className: 'plan', textContent: say('{cost} spent', { cost: dollars(spent) }) }))
}

async function storageRow(row) {
  const { settings: now } = await settings()
  const choices = Object.entries(STORAGES).map(([value, [text]]) => el('option', { value, textContent: say(text) }))
  const choice = el('select', { 'aria-label': say(row.label) }, ...choices)
  const fields = el('div', { className: 'fields' })
  const inputs = () => [...fields.querySelectorAll('input')]
  const send = () => save(row, { storage: choice.value, ...Object.fromEntries(inputs().map((one) => [one.name, one.value])) })
  const show = () => fields.replaceChildren(
    ...STORAGES[choice.value][1].map(([name, text]) => el('label', {}, say(text), el('input', { name, value: now[name] }))),
    choice.value === 'none' ? '' : button('Save', send),
  )
  choice.value = now.storage
  choice.addEventListener('change', () => { show(); if (choice.value === 'none') send() })
  show()
  row.content.append(choice, fields)
}

async function folderRow({ content }) {
  const { folder, bytes: size, jobs } = await get('/seedvr2/jobs')
  content.append(el('p', { className: 'plan', textContent: say('{folder}: {size} in {n} jobs', { folder, size: bytes(size), n: jobs.length }) }))
}
