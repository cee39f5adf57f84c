// One phone: built once, then filled with each new state. What its buttons do is handed in, so that the page of the official SDK shows the
// same phone over another database.
import { el, keep, setText } from '/page/dom.js';

const STATES = { offline: 'offline', connecting: 'connecting', syncing: 'syncing', synced: 'synced', error: 'error' };

/** `act(name, values)` performs an action on this phone. Gives `{ element, show(state) }`. */
export function makePhone(key, act) {
  const parts = {
    name: el('h2'),
    state: el('span', { class: 'state', 'data-part': 'state', role: 'status' }),
    synced: el('span', { class: 'synced', 'data-part': 'synced' }),
    airplane: el('button', { role: 'switch', class: 'airplane', 'data-part': 'airplane', title: 'Airplane mode' }, '✈ Airplane'),
    error: el('p', { class: 'error', 'data-part': 'error', hidden: true }),
    messages: el('div', { 'data-part': 'messages' }),
    lists: el('div', { 'data-part': 'lists' }),
    rows: el('p', { class: 'count', 'data-part': 'rows' }),
    queueTitle: el('h3', { 'data-part': 'queue-title' }),
    queue: el('ol', { class: 'queue', 'data-part': 'queue' }),
  };
  parts.airplane.addEventListener('click', () =>
    act('airplane', { on: parts.airplane.getAttribute('aria-checked') !== 'true' }),
  );
  const poison = el(
    'details',
    { class: 'poison' },
    el('summary', {}, 'Write what will be refused'),
    el('button', { 'data-action': 'break_check', onclick: () => act('break_check', {}) }, 'Break a CHECK of Postgres'),
    el('button', { 'data-action': 'break_policy', onclick: () => act('break_policy', {}) }, 'Break a policy of the backend'),
  );
  const element = el(
    'article',
    { class: 'phone', 'data-device': key },
    el('div', { class: 'head' }, parts.name, parts.airplane),
    el('div', { class: 'status' }, parts.state, parts.synced),
    parts.error,
    parts.messages,
    parts.lists,
    adding('add-list', 'New list', (name) => act('add_list', { name })),
    parts.rows,
    poison,
    parts.queueTitle,
    parts.queue,
  );
  return { element, show: (state) => show(element, parts, state, act) };
}

function show(element, parts, state, act) {
  element.dataset.state = state.state;
  setText(parts.name, state.name);
  setText(parts.state, STATES[state.state] ?? state.state);
  setText(parts.synced, state.last_synced_at ? `last synced ${timeOf(state.last_synced_at)}` : 'never synced');
  parts.airplane.setAttribute('aria-checked', String(!state.online));
  parts.error.hidden = !state.error;
  setText(parts.error, state.error ?? '');
  showMessages(parts.messages, state, act);
  showLists(parts.lists, state.lists, act);
  const shown = state.lists.reduce((sum, list) => sum + list.todos.length + (list.id === null ? 0 : 1), 0);
  setText(parts.rows, shown < state.row_count ? `${shown} of ${state.row_count} rows are shown.` : '');
  const more = state.queue_count - state.queue.length;
  const count = state.queue_count === 1 ? '1 write waits' : `${state.queue_count} writes wait`;
  setText(parts.queueTitle, `Upload queue: ${count}${more > 0 ? `, ${more} of them not shown` : ''}`);
  keep(parts.queue, state.queue, {
    key: (entry) => entry.id,
    make: () => el('li'),
    update: (line, entry) => setText(line, `${entry.op} ${entry.table} ${valuesOf(entry.values)}`),
  });
}

function showMessages(parent, state, act) {
  const messages = [
    ...state.conflicts.map((entry) => ({ ...entry, kind: 'conflict' })),
    ...state.rejections.map((entry) => ({ ...entry, kind: 'rejection' })),
  ];
  keep(parent, messages, {
    key: (message) => `${message.kind} ${message.id}`,
    make: (message) => (message.kind === 'conflict' ? conflictCard(message, act) : rejectionCard(message, act)),
    update: (card, message) => {
      for (const [part, text] of Object.entries(textsOf(message))) setText(card.querySelector(`[data-text=${part}]`), text);
    },
  });
}

const textsOf = (message) =>
  message.kind === 'conflict'
    ? { mine: message.mine, theirs: message.theirs }
    : { code: message.code, message: message.message, operations: message.operations.join(', ') };

function conflictCard(conflict, act) {
  const settle = (mine) => () => act('settle_conflict', { id: conflict.id, mine });
  return el(
    'div',
    { class: 'message conflict', 'data-kind': 'conflict' },
    el('strong', {}, 'Two phones wrote this todo.'),
    el('p', {}, 'Postgres has “', el('span', { 'data-text': 'theirs' }), '”; the other text was “', el('span', { 'data-text': 'mine' }), '”.'),
    el('button', { 'data-action': 'keep-theirs', onclick: settle(false) }, 'Keep what Postgres has'),
    el('button', { 'data-action': 'use-mine', onclick: settle(true) }, 'Use the other text'),
  );
}

function rejectionCard(rejection, act) {
  const dismiss = () => act('dismiss_rejection', { id: rejection.id });
  return el(
    'div',
    { class: 'message rejection', 'data-kind': 'rejection' },
    el('strong', {}, 'A write was refused: ', el('code', { 'data-text': 'code' })),
    el('p', {}, el('span', { 'data-text': 'message' }), ' (', el('span', { 'data-text': 'operations' }), ')'),
    el('button', { 'data-action': 'dismiss', onclick: dismiss }, 'Dismiss'),
  );
}

function showLists(parent, lists, act) {
  keep(parent, lists, {
    key: (list) => list.id ?? 'orphans',
    make: (list) => makeList(list, act),
    update: (section, list) => {
      setText(section.querySelector('h3'), list.name);
      showTodos(section.querySelector('ul'), list.todos, act);
    },
  });
}

function makeList(list, act) {
  const known = list.id !== null;
  const remove = () => act('delete_list', { id: list.id });
  return el(
    'section',
    { class: 'list', 'data-list': list.id ?? 'orphans' },
    el(
      'div',
      { class: 'head' },
      el('h3'),
      known ? el('button', { class: 'quiet', title: 'Delete the list', 'data-action': 'delete-list', onclick: remove }, '✕') : null,
    ),
    el('ul'),
    known ? adding('add-todo', 'New todo', (text) => act('add_todo', { list_id: list.id, description: text })) : null,
  );
}

function showTodos(parent, todos, act) {
  keep(parent, todos, {
    key: (todo) => todo.id,
    make: (todo) => makeTodo(todo, act),
    update: (line, todo) => {
      const [tick, text] = line.querySelectorAll('input');
      tick.checked = todo.completed;
      line.dataset.text = todo.description;
      text.title = todo.description;
      if (document.activeElement !== text) text.value = todo.description;
    },
  });
}

function makeTodo(todo, act) {
  const rewrite = (event) => {
    const written = event.target.value.trim();
    if (written && written !== event.target.closest('li').dataset.text) act('describe_todo', { id: todo.id, description: written });
    else event.target.value = event.target.closest('li').dataset.text;
  };
  return el(
    'li',
    { 'data-todo': todo.id },
    el('input', {
      type: 'checkbox',
      'aria-label': 'Done',
      onchange: (event) => act('complete_todo', { id: todo.id, completed: event.target.checked }),
    }),
    el('input', {
      type: 'text',
      class: 'text',
      'aria-label': 'Todo',
      onblur: rewrite,
      onkeydown: (event) => event.key === 'Enter' && event.target.blur(),
    }),
    el('button', { class: 'quiet', title: 'Delete the todo', onclick: () => act('delete_todo', { id: todo.id }) }, '✕'),
  );
}

function adding(name, label, add) {
  const input = el('input', { type: 'text', placeholder: label, 'aria-label': label, maxlength: '500' });
  const submit = (event) => {
    event.preventDefault();
    const text = input.value.trim();
    if (!text) return;
    input.value = '';
    add(text);
  };
  return el('form', { class: 'adding', 'data-form': name, onsubmit: submit }, input, el('button', {}, 'Add'));
}

const timeOf = (iso) => new Date(iso).toLocaleTimeString();

/** The values of a write, as JSON without its braces; long ones are cut. */
function valuesOf(values) {
  const text = JSON.stringify(values).slice(1, -1);
  return text.length > 160 ? `${text.slice(0, 160)} …` : text;
}
