// What Postgres holds: the rows that everything above it is made of, and the writes that the backend has refused and kept.
import { el, keep, setText } from '/page/dom.js';

/** `act(name, values)` performs an action. Gives `{ element, show(state) }`. */
export function makePostgres(act) {
  const parts = {
    lists: el('div', { 'data-part': 'lists' }),
    count: el('p', { class: 'count', 'data-part': 'rows' }),
    title: el('h3', { 'data-part': 'letters-title' }),
    letters: el('div', { 'data-part': 'letters' }),
  };
  const element = el(
    'article',
    { class: 'source', 'data-source': 'postgres' },
    el('div', { class: 'head' }, el('h2', {}, 'Postgres')),
    parts.lists,
    parts.count,
    parts.title,
    parts.letters,
  );
  return { element, show: (state) => show(parts, state, act) };
}

function show(parts, state, act) {
  keep(parts.lists, state.lists, {
    key: (list) => list.id ?? 'orphans',
    make: (list) => el('section', { class: 'list', 'data-list': list.id ?? 'orphans' }, el('div', { class: 'head' }, el('h3'), el('span', { class: 'owner' })), el('ul')),
    update: (section, list) => {
      setText(section.querySelector('h3'), list.name);
      setText(section.querySelector('.owner'), list.owner ? `of ${list.owner}` : '');
      keep(section.querySelector('ul'), list.todos, {
        key: (todo) => todo.id,
        make: () => el('li', { class: 'row' }),
        update: (line, todo) => setText(line, `${todo.completed ? '☑' : '☐'} ${todo.description}`),
      });
    },
  });
  setText(parts.count, `${state.row_count} rows`);
  setText(parts.title, state.letters.length ? 'Dead letters: refused, and kept' : 'No dead letters');
  keep(parts.letters, state.letters, {
    key: (letter) => letter.id,
    make: (letter) => makeLetter(letter, act),
    update: (card, letter) => setText(card.querySelector('p'), `${letter.user}: ${letter.operations.join(', ')}. ${letter.message}`),
  });
}

function makeLetter(letter, act) {
  return el(
    'div',
    { class: 'message letter', 'data-letter': letter.id },
    el('strong', {}, el('code', {}, letter.code)),
    el('p'),
    el('button', { 'data-action': 'retry', onclick: () => act('retry_letter', { id: letter.id }) }, 'Try again'),
    el('button', { 'data-action': 'discard', onclick: () => act('discard_letter', { id: letter.id }) }, 'Discard'),
  );
}
