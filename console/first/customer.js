// One customer: what they hold, what is missing, and why.

import { named } from './api.js'
import { future } from './future.js'
import { day, dayThere, el, endless, figure, impactOf, instant, lastDayThere, money, plural, table, they, title, whole } from './words.js'

export function customer(view, timeline, ledger, shop, models, shown) {
  return [
    el('h2', { id: 'customer-title' }, called(view)),
    el('p.lede', { id: 'customer-sentence' }, sentence(view, shop.zone)),
    tier(view),
    purchase(view, shop),
    places(view),
    ...lots(view.points.lots, shop.zone),
    ...future(view, models, shown),
    el('h3', {}, 'Segments'), segments(view.segments),
    el('h3', {}, 'What is computed and known'), known(view, shop.currency),
    fold('Timeline', 'what happened, the latest first', true, happened(timeline, shop.zone)),
    fold('Ledger', 'every posting with the chain of its reasons', true, postings(ledger)),
  ]
}

const called = view => `Customer ${view.identifiers[0] ?? view.id}`

const toSpend = available => Math.max(0, available)

function sentence(view, zone) {
  if (!view.member) return ['Not a member: no points, no tier. What they do is counted, and they join by enrolment.']
  const { points, tier } = view
  const next = tier?.next
  return [
    'Member since ', figure(day(view.enrolled_at)), ', ', figure(plural(toSpend(points.available), 'point')), ' to spend and ',
    figure(whole(points.pending)), ' pending. ',
    tier ? ['Tier ', figure(tier.name), tier.until ? ` until ${lastDayThere(tier.until, zone)}` : '', next ? [': ', figure(toNext(next, next.missing)), ` missing to ${next.name}`] : ', the highest', '. '] : null,
    view.badges.length ? `Badges: ${view.badges.map(title).join(', ')}. ` : null,
    points.arrears ? `${they(points.arrears, 'point', 'is', 'are')} owed after refunds; the next ones earned settle that.` : null,
  ].flat(2).filter(Boolean)
}

/** What counts towards the next level: points, or money spent. */
const toNext = (next, n) => next.unit === 'points' ? plural(n, 'qualifying point') : money(n, next.unit)

function tier(view) {
  const next = view.tier?.next
  if (!next) return null
  const has = next.needed - next.missing
  const inner = el('span')
  inner.style.width = `${next.needed > 0 ? Math.min(100, 100 * has / next.needed) : 0}%`
  return el('div', {},
    el('p.soft', { id: 'tier-words' }, `${next.unit === 'points' ? whole(has) : money(has, next.unit)} of ${toNext(next, next.needed)} of this year for ${next.name}`),
    el('div.meter', { role: 'img', 'aria-labelledby': 'tier-words' }, inner))
}

const points = view => view.member ? `${plural(toSpend(view.points.available), 'point')} can be spent now` : 'No wallet before joining'

/** Where this customer's points are; places that hold none are left out, so that a telephone shows the rest. */
function places(view) {
  const all = [['pending', 'pending'], ['available', 'available'], ['held', 'held'], ['spent', 'spent'], ['expired', 'expired'], ['arrears', 'owed'], ['earned_this_year', 'earned this year']]
  const shown = all.filter(([name]) => view.points[name] || ['pending', 'available', 'earned_this_year'].includes(name))
  return table(points(view), `As of ${instant(view.as_of)}`, shown.map(([, words]) => [words, 'n']), [shown.map(([name]) => whole(view.points[name]))], 'wide')
}

/** Lots that are shown at once; who earns by each order has hundreds. */
const NEXT = 12

function lots(all, zone) {
  if (!all.length) return [el('p', {}, 'No open lots. Points earned together form a lot; the one that expires first is spent first.')]
  const expiry = l => l.expires_at ? dayThere(l.expires_at, zone) : 'never'
  const held = ['pending', 'available', 'held'].filter(name => name === 'available' || all.some(l => l[name]))
  const shown = (some, finding, about, kind) => table(finding, about,
    [['expires'], ...held.map(name => [name, 'n']), ['earned'], ['by'], ['available from']],
    some.map(l => [expiry(l), ...held.map(name => whole(l[name])), day(l.earned_at), title(l.rule), day(l.available_at)]), kind)
  const [finding, lapse] = [`${plural(all.length, 'open lot')}; the first expires ${expiry(all[0])}`, `Points lapse as that day begins, ${zone} time`]
  if (all.length <= NEXT) return [shown(all, finding, `${lapse}; the earliest first`, 'wide')]
  return [
    shown(all.slice(0, NEXT), finding, `The next ${NEXT} to lapse. ${lapse}`, 'wide'),
    el('details', { id: 'all-lots' }, el('summary', {}, `Show all ${plural(all.length, 'lot')}`),
      shown(all, `All ${plural(all.length, 'open lot')}`, `${lapse}; the earliest first`, 'wide tall')),
  ]
}

function segments(all) {
  if (!all.length) return el('p', {}, 'In none of the programme’s segments now.')
  return el('dl', {}, all.flatMap(s => [el('dt', {}, title(s.id)), el('dd', {}, readable(s.reason))]))
}

/** What of the built-in figures is money. */
const AMOUNTS = ['cart.value', 'clv_12m', 'spend']

function known(view, currency) {
  const amount = ([name, value]) => [name, AMOUNTS.includes(name) && value !== null ? money(value, currency) : value]
  const say = ([name, value]) => [el('dt', {}, name), el('dd', {}, value === null ? 'not known' : readable(typeof value === 'string' ? value : JSON.stringify(value)))]
  return el('dl', {},
    [['id', view.id], ['recognised by', view.identifiers.join(', ')], ...Object.entries(view.features).map(amount), ...Object.entries(view.traits),
      ...Object.entries(view.impact).map(([unit, n]) => ['impact', impactOf(unit, n)])].flatMap(say))
}

/** Instants inside sentences, in the reader's own form. */
const readable = text => text.replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, instant)

function fold(name, about, open, content) {
  return el('details', { open, id: `fold-${name.toLowerCase()}` }, el('summary', {}, name, ' ', el('small', {}, about)), content)
}

function happened(entries, zone) {
  if (!entries.length) return el('p', {}, 'Nothing yet.')
  return table(`The last ${plural(entries.length, 'entry', 'entries')}`, null, [['when'], ['what'], ['what followed']],
    entries.map(e => [instant(e.at), what(e), followed(e.facts, zone)]), 'story')
}

/** What time brings, as one would say it. */
const DUE = {
  hold_lapse: 'A hold lapsed', activate: 'Points became available', expire: 'Points expired', remind: 'Points will expire soon',
  firm: 'A milestone became final', review: 'The tier was reviewed', tick: 'Time moved a segment',
}

const what = e => e.kind === 'timer' ? DUE[e.name] ?? title(e.name) : e.kind === 'event' ? e.name : title(e.name)

function followed(facts, zone) {
  const said = facts.map(f => fact(f, zone)).filter(Boolean)
  return said.length ? el('ol.why', {}, said.map(s => el('li', {}, s))) : '—'
}

function fact({ kind, details: d }, zone) {
  switch (kind) {
    case 'posted': return `${amountOf(d)}: ${d.from} → ${d.to}`
    case 'enrolled': return 'joined the programme'
    case 'created': return 'first seen'
    case 'booked': return d.rules?.length ? `earned by ${d.rules.map(title).join(', ')}` : 'booked; no rule matched'
    case 'tiered': return `tier ${title(d.tier)}${endless(d.until) ? '' : ` until ${lastDayThere(d.until, zone)}`}`
    case 'reached': return `milestone ${title(d.milestone)}`
    case 'missed': return `milestone ${title(d.milestone)} taken back`
    case 'redeemed': return `${d.quantity} × ${title(d.reward)} for ${plural(d.points, 'point')}`
    case 'benefited': return d.granted ? `benefit ${title(d.benefit)}` : `benefit ${title(d.benefit)} taken back`
    case 'fulfilled': return `benefit ${title(d.benefit)} brought`
    case 'refused': return `refused: ${title(String(d))}`
    case 'explained': return d.message
    case 'noted': return `noted: ${title(String(d))}`
    case 'queued': return `message “${title(d.template)}” queued`
    case 'returned': return 'return booked'
    case 'scored': return scored(d)
    case 'merged': return 'two profiles became one'
    default: return null // links, dates of lots and year sums say nothing that the rest does not
  }
}

function scored({ value, cluster }) {
  const said = value ? `${Math.round(value.p_alive * 100)} % still a customer` : `group “${cluster?.name}”`
  return `asked again, model version ${(value ?? cluster)?.model}: ${said}`
}

/** What a posting moves, in a fact as in the ledger. */
function amountOf({ unit, amount }) {
  const [what, of] = unit.split(':')
  return what === 'points' ? plural(amount, 'point') : what === 'impact' ? impactOf(of, amount / 1000) : `${amount} × ${of}`
}

function postings(entries) {
  if (!entries.length) return el('p', {}, 'No postings yet: points move here when something is earned, spent, taken back or lapses.')
  return table(`The last ${plural(entries.length, 'posting')}`, 'Double entry: what leaves one account arrives at another',
    [['booked for'], ['from → to'], ['amount', 'n'], ['why']],
    entries.map(p => [instant(p.at), `${p.from} → ${p.to}`, amountOf(p),
      el('ol.why', {}, p.reasons.map(r => el('li', {}, readable(r))))]), 'story')
}

function purchase(view, shop) {
  if (!shop.canSend) return el('p.note', {}, 'To make a purchase here, this page needs the write key as well. ', el('button.plain', { type: 'button', click: shop.ask }, 'Give it'))
  const names = view.identifiers.map(named).find(Boolean)
  if (!names) return el('p.note', {}, 'No purchase can be made here: a shop’s message has no way to name this customer.')
  const offered = shop.products.length ? shop.products : [{ product_id: 'demo-1', name: 'Something', tags: [] }]
  const options = offered.map(p => el('option', { value: p.product_id }, p.name, p.tags.length ? ` (${p.tags.join(', ')})` : ''))
  const form = el('form', { submit: event => { event.preventDefault(); shop.buy(names, form) } },
    el('label', {}, 'Product', el('select', { name: 'product' }, options)),
    el('label', {}, `Price, ${shop.currency}`, el('input', { name: 'price', type: 'number', min: '0.01', max: '100000', step: '0.01', value: '120.00', required: true })),
    el('label', {}, 'Pieces', el('input', { name: 'quantity', type: 'number', min: '1', max: '100', step: '1', value: '1', required: true })),
    el('button', {}, 'Buy'))
  return el('div.purchase', {},
    el('h3', { id: 'buy-title' }, 'Make a purchase'),
    el('p.soft', {}, 'Sends “Order Completed” through /v1/track with the write key, as a shop’s Segment client would.'),
    form, el('output', { id: 'bought', role: 'status' }, shop.said ?? ''))
}
