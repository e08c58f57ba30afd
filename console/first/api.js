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

/** The server said no, and why. */
export class Refused extends Error {
  constructor(problem, status) {
    super(problem.detail ?? problem.message ?? `The server answered ${status}.`)
    this.code = problem.code
    this.status = status
  }
}

/** Nothing came back that could be read: what the server did is not known here. */
export class Unanswered extends Error {}

/** What somebody pasted may hold what no header can carry. */
function plain(key) {
  if (/[^!-~]/.test(key)) throw new Refused({ detail: 'This is no key of Perennial.' }, 401)
  return key
}

const reader = () => ({ authorization: `Bearer ${plain(keysOfThisTab().key)}` })

async function answer(response) {
  const text = await response.text()
  let body
  try { body = JSON.parse(text) } catch { /* told below */ }
  if (!response.ok) throw new Refused(body ?? {}, response.status)
  if (body === undefined) throw new Unanswered('The answer cannot be read.')
  return body
}

/** A browser's own words for what went wrong help nobody, so they end here. */
async function send(path, options, stop) {
  const late = AbortSignal.timeout(20_000)
  const signal = stop ? AbortSignal.any([late, stop]) : late
  try {
    return await answer(await fetch(path, { ...options, signal }))
  } catch (error) {
    if (error instanceof Refused || error instanceof Unanswered) throw error
    throw new Unanswered(late.aborted ? 'No answer came within 20 seconds.' : 'The server cannot be reached.')
  }
}

export const read = async (path, stop) => send(path, { headers: reader() }, stop)

/** Sends a call as any Segment client would. */
export async function track(call) {
  const headers = { authorization: `Basic ${btoa(`${plain(keysOfThisTab().write)}:`)}`, 'content-type': 'application/json' }
  return send('/v1/track', { method: 'POST', headers, body: JSON.stringify(call) })
}

/** The kinds that a message's external ids stand for by another name, so that they cannot be named by their own. */
const MEANT_OTHERWISE = ['user_id', 'anonymous_id', 'loyalty_id']

/** The fields by which a message names whom the API calls so; none where it has no way to. */
export function named(identifier) {
  const [, kind, id] = identifier.match(/^([a-z][a-z0-9_.]*):(.*)$/s) ?? [null, 'user', identifier]
  if (kind === 'user') return { userId: id }
  if (kind === 'anonymous') return { anonymousId: id }
  if (kind.length > 40 || MEANT_OTHERWISE.includes(kind)) return null
  return { context: { externalIds: [{ type: kind, id, collection: 'users', encoding: 'none' }] } }
}

/** The server says something every 15 seconds, if only a comment. */
const SILENCE_MS = 40_000

/** Follows the live stream until it is stopped; `state` is told when it comes, and when and why it goes. */
export async function listen(heard, state, stop) {
  for (let tries = 0; ; tries++) {
    const error = await hear(heard, () => { tries = 0; state(true) }, stop).catch(error => error)
    if (stop.aborted) return
    state(false, error)
    await new Promise(done => setTimeout(done, Math.min(1000 * 2 ** tries, 15_000)))
    if (stop.aborted) return
  }
}

/** A connection may die without a word, so silence ends it, too. */
async function hear(heard, here, stop) {
  const silent = new AbortController()
  let alarm
  const alive = () => { clearTimeout(alarm); alarm = setTimeout(() => silent.abort(), SILENCE_MS) }
  alive()
  try {
    const response = await fetch('/v1/stream', { headers: reader(), signal: AbortSignal.any([silent.signal, stop]) })
    if (!response.ok) return await answer(response)
    here()
    await eachEvent(response.body, heard, alive)
  } finally {
    clearTimeout(alarm)
  }
}

async function eachEvent(body, heard, alive) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader()
  let rest = ''
  for (;;) {
    const { value, done } = await reader.read()
    if (done) return
    alive()
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
