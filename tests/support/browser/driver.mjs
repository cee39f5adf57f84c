// Drives Chromium with playwright-core: one JSON command a line on stdin, one JSON answer a line on stdout; ends with its input.
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const { chromium } = createRequire(import.meta.url)(process.env.SYNCLINE_PLAYWRIGHT);
const TIMEOUT_MS = 30_000;
const VIEWPORT = { width: 1500, height: 1000 };

const browser = await chromium.launch({
  executablePath: process.env.SYNCLINE_CHROMIUM,
  chromiumSandbox: false, // a container's root has no other way
  args: ['--disable-gpu', '--disable-dev-shm-usage'],
});
const context = await browser.newContext({ viewport: VIEWPORT });
context.setDefaultTimeout(TIMEOUT_MS);
const pages = new Map();

const commands = {
  /** `answers` are bodies by path: what the tab hears instead of the server's own answer, as server-sent events. */
  async open({ page, url, answers }) {
    const opened = await context.newPage();
    for (const [path, body] of Object.entries(answers)) {
      await opened.route(`**${path}`, (route) => route.fulfill({ contentType: 'text/event-stream', body }));
    }
    const errors = [];
    opened.on('pageerror', (error) => errors.push(String(error.stack ?? error)));
    opened.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
    pages.set(page, { opened, errors });
    await opened.goto(url);
  },
  click: ({ page, selector }) => pages.get(page).opened.locator(selector).click(),
  async type({ page, selector, text }) {
    const input = pages.get(page).opened.locator(selector);
    await input.fill(text);
    await input.press('Enter');
  },
  evaluate: ({ page, function: text, argument }) =>
    pages.get(page).opened.evaluate(`(${text})(${JSON.stringify(argument)})`),
  screenshot: ({ page, path }) => pages.get(page).opened.screenshot({ path, fullPage: true }).then(() => null),
  errors: ({ page }) => pages.get(page).errors,
};

for await (const line of createInterface({ input: process.stdin })) {
  const { command, ...options } = JSON.parse(line);
  let answer;
  try {
    answer = { result: (await commands[command](options)) ?? null };
  } catch (error) {
    answer = { error: `${command} ${JSON.stringify(options)}: ${error.message}` };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await browser.close();
