/** The pack's routes and ComfyUI's, as promises; refusals are errors with the server's own words. */

import { api } from '../../../scripts/api.js'

async function call(method, path, body) {
  const sent = body === undefined ? {} : { body: JSON.stringify(body), headers: { 'Content-Type': 'application/json' } }
  const answer = await api.fetchApi(path, { method, ...sent })
  const content = await answer.json().catch(() => null)
  if (answer.ok) return content
  const said = content?.error?.message ?? content?.error ?? content?.message
  throw new Error(typeof said === 'string' ? said : `${answer.status} ${answer.statusText}`)
}

export const get = (path) => call('GET', path)
export const post = (path, body = {}) => call('POST', path, body)
export const put = (path, body) => call('PUT', path, body)
export const remove = (path) => call('DELETE', path, {})

/** The id of the workflow that a prompt was made from; of a job gone on with, only its runs know it. */
export async function workflowOf(prompt) {
  const { workflow_id: workflow } = await get(`/jobs/${prompt}`)
  return workflow ?? (await get('/seedvr2/runs')).find((one) => one.prompt === prompt)?.workflow
}

/** The address of a file in input, output or temp. */
export function viewUrl({ filename, subfolder = '', type = 'output' }) {
  return api.apiURL(`/view?${new URLSearchParams({ filename, subfolder, type })}`)
}
