// The programme's health: sentences first, then tables that say where each figure comes from.

import { bar, clock, day, el, figure, impactOf, money, plural, rate, table, they, title, whole } from './words.js'

const PLACES = [
  ['pending', 'pending', true],
  ['available', 'available'],
  ['held', 'held'],
  ['spent', 'spent'],
  ['settled', 'settled arrears'],
  ['expired', 'expired'],
  ['reversed', 'taken back'],
  ['forfeited', 'given up'],
]

export function health(view) {
  const period = view.first_order_at ? `Orders of ${day(view.first_order_at)} to ${day(view.last_order_at)}` : 'No orders yet'
  return [
    el('h1', { id: 'health-title' }, headline(view)),
    view.members ? sentences(view) : teach(view),
    el('div.multiples', {}, points(view, period), tiers(view), segments(view)),
    el('p.source', {},
      `${view.programme.name}, version ${view.programme.version}. ${period}. Source: ${who(view.customers)}, folded from the journal up to entry ${whole(view.seq)}. As of ${clock(view.as_of)}; summed in ${view.took_ms} ms. Counts are complete, not samples, so they carry no interval.`),
  ]
}

const who = n => n > 1 ? `all ${plural(n, 'customer')} of the workspace` : n ? 'the one customer of the workspace' : 'the workspace, which knows no customer yet'

function headline(view) {
  if (!view.members) return 'Nobody has joined the programme yet'
  if (!view.liability) return `${they(view.members, 'member', 'holds', 'hold')} ${plural(view.points.available, 'point')} to spend`
  const cost = money(view.liability.amount, view.programme.currency)
  return `${they(view.members, 'member', 'holds', 'hold')} ${plural(view.liability.points, 'point')}; to honour them all would cost ${cost}`
}

function sentences(view) {
  const { points, programme, liability } = view
  const impact = Object.entries(view.impact).filter(([, n]) => Number(n)).map(([unit, n]) => impactOf(unit, n))
  return el('p.lede', {},
    'Of ', figure(plural(view.members, 'member')), ', ', figure(whole(view.members_active)), ' ordered in the last 90 days and ',
    figure(whole(view.members_repeat)), view.members_repeat === 1 ? ' has' : ' have', ' ordered at least twice. ',
    plural(view.orders, 'order'), ' brought ', figure(money(view.spend, programme.currency)), '. ',
    'Of ', figure(plural(points.granted, 'point')), ' ever granted, ', figure(whole(points.pending)), points.pending === 1 ? ' is' : ' are', ' pending, ',
    figure(whole(points.available)), ' available, ', figure(whole(points.spent)), ' spent and ',
    figure(whole(points.expired)), ' expired. ',
    liability ? `A point costs ${rate(liability.cost_per_point, programme.currency)}, so the liability is ` : null,
    liability ? figure(money(liability.amount, programme.currency)) : null, liability ? '. ' : null,
    points.arrears ? [figure(they(points.arrears, 'point', 'is', 'are')), ' owed after refunds. '] : null,
    impact.length ? `Credited impact: ${impact.join(', ')}.` : null)
}

function teach(view) {
  const server = location.origin
  return el('div', {},
    el('p.lede', {}, view.customers
      ? `${they(view.customers, 'customer', 'is', 'are')} known, and none is a member. Enrol one, or say “join” in the programme.`
      : 'Let somebody join and buy something, or bring history in with “perennial import”. It appears here at once.'),
    el('pre', { tabindex: 0, 'aria-label': 'Two commands to try' }, [
      `curl -X POST ${server}/v1/customers/ana/enroll -H "Authorization: Bearer $SECRET"`,
      `curl ${server}/v1/track -u "$WRITE:" -H 'Content-Type: application/json' \\`,
      `  -d '{"userId": "ana", "event": "Order Completed", "properties": {"order_id": "A-1", "subtotal": 14.80}}'`,
    ].join('\n')))
}

function points({ points }, period) {
  const rows = PLACES.filter(([name]) => points[name] || ['pending', 'available', 'spent', 'expired'].includes(name))
  const most = Math.max(...rows.map(([name]) => points[name]))
  return table(gone(points), `Where the granted points are now: pending are inside the return window (outlined), taken back after refunds. ${period}`,
    [['place'], ['points', 'n'], ['in proportion', 'bar']],
    rows.map(([name, words, outline]) => [words, whole(points[name]), bar(points[name], most, outline)]))
}

function gone({ granted, pending, available, held }) {
  if (!granted) return 'No points were granted yet'
  const used = granted - pending - available - held
  return used
    ? `${whole(used)} of ${whole(granted)} points are spent, expired or taken back; members hold the rest`
    : `None of ${whole(granted)} points is spent or expired yet; members hold them all`
}

function tiers(view) {
  if (!view.tiers.length) return null
  const top = view.tiers.at(-1)
  const most = Math.max(...view.tiers.map(t => t.members))
  return table(`${whole(top.members)} of ${plural(view.members, 'member')} ${top.members === 1 ? 'holds' : 'hold'} ${title(top.id)}, the highest tier`, 'Members by the tier they hold now',
    [['tier'], ['members', 'n'], ['in proportion', 'bar']],
    view.tiers.map(t => [title(t.id), whole(t.members), bar(t.members, most)]))
}

function segments(view) {
  if (!view.segments.length) return null
  const most = Math.max(...view.segments.map(s => s.customers))
  const largest = view.segments.find(s => s.customers === most)
  return table(most ? `${title(largest.id)} is the largest segment, with ${plural(most, 'customer')}` : 'No customer is in a segment', 'Customers in each segment now; one may be in several',
    [['segment'], ['customers', 'n'], ['in proportion', 'bar']],
    view.segments.map(s => [title(s.id), whole(s.customers), bar(s.customers, most)]))
}
