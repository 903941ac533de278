/**
 * Enhancements only: every page works without this file. What needs it is in the markup already, hidden, with its
 * room reserved, so that nothing moves when it appears. Words come from data attributes, in the page's language.
 */

/** How long "Copied" stands before the button says "Copy" again. */
const COPIED_MILLISECONDS = 2000;
/** How long it stands that copying is up to the reader, which takes longer to read and to do. */
const NOT_COPIED_MILLISECONDS = 8000;
/** A form sent twice would spend its interaction twice; after this long the answer is not coming and may be retried. */
const RESUBMIT_MILLISECONDS = 5000;

const liveRegion = document.querySelector('[data-live-region]');

function announce(message) {
  if (liveRegion) liveRegion.textContent = message;
}

function enableShowPassword(button) {
  const input = document.getElementById(button.getAttribute('aria-controls'));
  if (!input) return;
  const show = (isShown) => {
    input.type = isShown ? 'text' : 'password';
    button.textContent = isShown ? button.dataset.hideText : button.dataset.showText;
    button.setAttribute('aria-label', isShown ? button.dataset.hideLabel : button.dataset.showLabel);
  };
  button.addEventListener('click', () => {
    const isShown = input.type === 'password';
    show(isShown);
    announce(isShown ? button.dataset.shownMessage : button.dataset.hiddenMessage);
  });
  // A password sent from a text field could be kept in the browser's form history.
  input.form?.addEventListener('submit', () => show(false));
  button.hidden = false;
}

/** Whether it was copied: a browser may refuse it by its settings, a policy, or because another window has the focus. */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

function enableCopy(button) {
  const label = button.textContent;
  button.addEventListener('click', async () => {
    const source = document.getElementById(button.dataset.copyFrom);
    const isCopied = await copy(button.dataset.copy ?? source?.textContent ?? '');
    if (!isCopied && source) getSelection()?.selectAllChildren(source);
    const message = isCopied ? button.dataset.copiedText : button.dataset.failedText;
    button.textContent = message;
    announce(message);
    setTimeout(
      () => {
        button.textContent = label;
        announce('');
      },
      isCopied ? COPIED_MILLISECONDS : NOT_COPIED_MILLISECONDS,
    );
  });
  button.hidden = false;
}

function sendOnce(form) {
  let isSent = false;
  const reset = () => {
    isSent = false;
  };
  form.addEventListener('submit', (event) => {
    if (isSent) {
      event.preventDefault();
      return;
    }
    isSent = true;
    setTimeout(reset, RESUBMIT_MILLISECONDS);
  });
  window.addEventListener('pageshow', reset);
}

for (const button of document.querySelectorAll('[data-show-password]')) enableShowPassword(button);
// Absent on plain http: then the value is selected and copied by hand.
if (navigator.clipboard)
  for (const button of document.querySelectorAll('[data-copy], [data-copy-from]')) enableCopy(button);
for (const form of document.querySelectorAll('form[method="post"]')) sendOnce(form);
// The autofocus attribute does it at first load; a page restored from history needs the call.
window.addEventListener('pageshow', (event) => {
  if (event.persisted) document.querySelector('[data-error-summary]')?.focus();
});
