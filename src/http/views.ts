/**
 * The pages that people see: Eta templates below `views/`, each rendered with a model of its own type.
 *
 * To add a page: declare it in the room that shows it, by `definePage` with the type of its model, and write
 * `views/pages/<name>.eta`. The template starts with `layout('/layouts/narrow', { title })` (one task) or
 * `layout('/layouts/wide', { title, navigation })` (rail and sections), takes its parts from `views/components` (each says
 * on top what it wants), and finds in `it`: `model`, `locale`, `asset`, and the functions of template-tools.ts. `<%= %>`
 * escapes; `<%~ %>` does not and is only for `include`, `it.sentence` and HTML of the provider. No style attribute, no
 * inline script: the CSP refuses both.
 *
 * To add a language: translate `views/messages/en.json` into `<tag>.json` and add the tag in `messages.ts`. Every word
 * on a page is a message: `it.t(key, params)` gives text, `it.sentence(key, params)` HTML with the values in bold.
 */
import { join, resolve } from 'node:path';
import { Eta } from 'eta';
import { createAssetLinks } from './asset-links.ts';
import { type Locale, readMessages } from './messages.ts';
import { createTemplateTools } from './template-tools.ts';

/** A page to show: a template with the model that it wants. */
export type Page = Readonly<{ template: string; model: object }>;

/** Declares a page. @param template the name of its file below `views/pages` */
export function definePage<Model extends object>(template: string): (model: Model) => Page {
  return (model) => ({ template, model });
}

export interface Views {
  /** @returns a whole HTML document. Throws when the template does (a fault of ours, not of the request). */
  render(page: Page, locale: Locale): string;
}

/** Reads messages and hashes assets once; templates are compiled at first use and kept. */
export function createViews({ viewsDirectory }: { viewsDirectory: string }): Views {
  const directory = resolve(viewsDirectory);
  const eta = new Eta({
    views: directory,
    cache: true,
    autoEscape: true,
    autoFilter: true,
    filterFunction: (value) => (value === undefined || value === null ? '' : String(value)),
  });
  const messages = readMessages(join(directory, 'messages'));
  const asset = createAssetLinks(join(directory, 'assets'));
  return {
    render: ({ template, model }, locale) =>
      eta.render(`pages/${template}`, { model, asset, ...createTemplateTools(messages[locale], locale) }).trimStart(),
  };
}
