// The public API, with the keys of this tab. Absent on purpose: any other door to the server.

const KEPT = 'perennial.keys'

/** Keys and the demo's note come in the address's fragment, which no server sees, and leave it at once. */
export function keysOfThisTab() {
  const said = new URLSearchParams(location.hash.slice(1))
  if (said.has('key')) {
    keep(Object.fromEntries(said))
    history.replaceState(null, '', location.pathname)
  }
  try { return JSON.parse(sessionStorage.getItem(KEPT)) ?? {} } catch { return {} }
}

export function keep(keys) {
  sessionStorage.setItem(KEPT, JSON.stringify(keys))
}

export class Refused extends Error {
  constructor(problem, status) {
    super(problem.detail ?? problem.message ?? `The server answered ${status}.`)
    this.code = problem.code
    this.status = status
  }
}

async function answer(response) {
  const body = await response.json().catch(() => ({}))
  if (!response.ok) throw new Refused(body, response.status)
  return body
}

export async function read(path) {
  const { key } = keysOfThisTab()
  const headers = { authorization: `Bearer ${key}` }
  return answer(await fetch(path, { headers, signal: AbortSignal.timeout(20_000) }))
}

/** Sends a call as any Segment client would. */
export async function track(call) {
  const { write } = keysOfThisTab()
  const headers = { authorization: `Basic ${btoa(`${write}:`)}`, 'content-type': 'application/json' }
  const body = JSON.stringify(call)
  return answer(await fetch('/v1/track', { method: 'POST', headers, body, signal: AbortSignal.timeout(20_000) }))
}

/** Follows the live stream for ever; `state` is told when it comes and goes. */
export async function listen(heard, state) {
  for (let tries = 0; ; tries++) {
    try {
      const { key } = keysOfThisTab()
      const response = await fetch('/v1/stream', { headers: { authorization: `Bearer ${key}` } })
      if (!response.ok) throw new Error(`status ${response.status}`)
      state(true)
      tries = 0
      await eachEvent(response.body, heard)
    } catch { /* told below; the next try says more */ }
    state(false)
    await new Promise(done => setTimeout(done, Math.min(1000 * 2 ** tries, 15_000)))
  }
}

async function eachEvent(body, heard) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader()
  let rest = ''
  for (;;) {
    const { value, done } = await reader.read()
    if (done) return
    const blocks = (rest + value).split('\n\n')
    rest = blocks.pop()
    blocks.map(parse).filter(Boolean).forEach(heard)
  }
}

function parse(block) {
  const lines = block.split('\n')
  const kind = lines.find(l => l.startsWith('event:'))?.slice(6).trim()
  const data = lines.filter(l => l.startsWith('data:')).map(l => l.slice(5).trim()).join('\n')
  if (!kind) return null
  try { return { ...JSON.parse(data), stream: kind } } catch { return { stream: kind, name: data } }
}
