// What models say of one customer: value with its range, the chance of being there, the group, and what to show.

import { day, el, figure, instant, money, table, title, whole } from './words.js'

const percent = share => `${whole(Math.round(100 * share))} %`

/** A finding, the range drawn, and behind it the same figures with where they come from. */
export function future(view, models, shown) {
  const { value, cluster } = view.scores
  if (!models.some(m => m.wanted) && !value && !cluster) {
    return [el('h3', {}, 'What is to be expected'), el('p', {}, 'The programme asks for no models; “models” in docs/programs.md says how.'),
      el('h3', {}, 'What to show them'), recommended(shown)]
  }
  return [
    el('h3', {}, 'What is to be expected'),
    value ? el('p', { id: 'future-sentence' }, ...sentence(value)) : el('p', { id: 'future-sentence' }, nothing(models, 'value')),
    value && range(value),
    cluster ? el('p', { id: 'cluster-sentence' }, 'Shops like the group ', figure(cluster.name), ...reason(cluster)) : el('p', {}, nothing(models, 'clusters')),
    (value || cluster) && el('details', {}, el('summary', {}, 'Where this comes from ', el('small', {}, 'models, validation, the same as a table')), figures(value), parts(cluster), ...models.filter(m => m.version).map(model)),
    el('h3', {}, 'What to show them'),
    recommended(shown),
  ].filter(Boolean)
}

function sentence(v) {
  return [
    v.p_alive < 0.5 ? 'More likely gone than not; still a customer' : 'Likely still a customer,', ' with a chance of ', figure(percent(v.p_alive)),
    '. Expected to spend ', figure(money(v.clv_12m, v.currency)),
    ' in the next twelve months', v.clv_12m_high == null ? '' : `, in four of five cases between ${money(v.clv_12m_low, v.currency)} and ${money(v.clv_12m_high, v.currency)}`, '. ',
    v.next_purchase ? ['An order has come by ', figure(day(v.next_purchase)), ' with a chance of one half. '] : 'No further order is more likely than one. ',
    `They ${v.reason}.`,
  ].flat()
}

/** A dot and its interval: outline, because it is a forecast. */
function range(v) {
  if (v.clv_12m_high == null) return null
  const most = Math.max(v.clv_12m_high, v.clv_12m, 1)
  const share = amount => Math.max(0, Math.min(100, 100 * amount / most))
  const place = amount => `${share(amount)}%`
  const span = el('span.forecast-span')
  span.style.left = place(v.clv_12m_low)
  span.style.right = `calc(100% - ${place(v.clv_12m_high)})`
  const dot = el('span.forecast-dot')
  dot.style.left = place(v.clv_12m)
  return el('div.forecast', { role: 'img', 'aria-label': `Value of twelve months: ${money(v.clv_12m, v.currency)}, range ${money(v.clv_12m_low, v.currency)} to ${money(v.clv_12m_high, v.currency)}` },
    span, dot, ...scale(v, share(v.clv_12m_low)), el('span.forecast-high', {}, money(v.clv_12m_high, v.currency)))
}

/** The scale begins at nothing; the low end of the range stands under its place where there is room. */
function scale(v, at) {
  const low = el('span.forecast-low', {}, money(v.clv_12m_low, v.currency))
  if (at < 1) return [low]
  low.style.left = `${at}%`
  low.classList.add('forecast-within')
  return [el('span.forecast-low', {}, money(0, v.currency)), at > 30 && at < 62 ? low : null].filter(Boolean)
}

function reason(c) {
  const said = (sign, words) => {
    const parts = c.because.filter(p => sign * p.weight > 0).slice(0, 2).map(p => `${p.feature} (${whole(p.value)})`)
    return parts.length ? `${parts.join(' and ')} ${parts.length > 1 ? 'speak' : 'speaks'} ${words}` : ''
  }
  const reasons = [said(1, 'for it'), said(-1, 'against it')].filter(Boolean)
  return [reasons.length ? `: ${reasons.join(', ')}` : '', '.', c.next ? ` Next nearest: ${c.next}.` : '']
}

function figures(v) {
  if (!v) return null
  return table('Value and presence', `Model version ${v.model}, as of ${instant(v.as_of)}`, [['figure'], ['value', 'n'], ['means']], [
    ['clv_12m', money(v.clv_12m, v.currency), 'expected to be spent in the next twelve months'],
    ['p_alive', percent(v.p_alive), 'the chance that they are still a customer'],
    ['churn_risk', percent(v.churn_risk), 'the chance that they order nothing within 90 days'],
    ['next_purchase', v.next_purchase ? day(v.next_purchase) : '—', 'by then the next order has come with a chance of one half'],
  ])
}

function parts(c) {
  if (!c?.because.length) return null
  return table(`Why “${c.name}”`, `Against the next nearest group, ${c.next}; parts add up to 100 %, and one below zero speaks for the other. Model version ${c.model}`,
    [['feature'], ['theirs', 'n'], ['part of the reason, %', 'n']], c.because.map(p => [p.feature, whole(p.value), whole(Math.round(p.weight))]))
}

function model(m) {
  return table(`Model of ${m.kind}: ${m.method}`, `Version ${m.version}, trained ${instant(m.trained_at)} on ${whole(m.orders)} orders of ${whole(m.customers)} customers, ${day(m.from)} to ${day(m.until)}; next ${m.next_training ? instant(m.next_training) : 'on request'}`,
    [['validation'], ['value', 'n'], ['means']], m.validation.map(f => [f.name.replace(/_/g, ' '), whole(f.value), f.means]))
}

function nothing(models, kind) {
  const model = models.find(m => m.kind === kind)
  if (!model?.wanted) return `The programme asks for no model of ${kind}; docs/programs.md says how.`
  if (model.status === 'training') return `The model of ${kind} is being trained: ${model.progress} %.`
  if (model.version) return 'They have not ordered yet, so no model speaks of them.'
  const tried = model.why_not?.replace(/\(([-\d]+T[^)]+)\)$/, (_, at) => `(tried ${instant(at)})`)
  return `No model of ${kind} yet: ${tried ?? 'it is trained soon'}.`
}

function recommended(shown) {
  const { fresh, again } = shown
  // Where both fall back on what many buy, one list says it.
  const same = list => list?.items.map(i => i.item).join()
  const all = fresh?.instead && again?.instead && same(fresh) === same(again) ? [['What many buy', fresh]] : [['New to them', fresh], ['To buy again', again]]
  const lists = all.filter(([, list]) => list?.items.length)
  if (!lists.length) return el('p', {}, 'Nothing to show yet: recommendations need orders of products.')
  return el('div.pair', {}, lists.map(([name, list]) => table(name,
    list.instead ? title(list.instead) : `Model version ${list.model.version}, trained ${instant(list.model.trained_at)}`,
    [['product'], ['why']], list.items.map(i => [i.name ?? i.item, why(i.reason)]))))
}

const why = reason => reason.text
