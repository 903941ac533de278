import axe from 'axe-core';
import type { Page } from 'playwright-core';
import type { Visit } from '../harness/browser.ts';

const STANDARDS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];
const WIDTHS = [390, 1280];
const COLOR_SCHEMES = ['light', 'dark'] as const;
const HEIGHT = 900;

type Violation = { id: string; nodes: { target: string[]; failureSummary: string }[] };

/**
 * All that is wrong with the page in front of a visitor, on a phone and on a desk, in light and in dark: what axe says
 * of WCAG 2.2 AA, what is wider than the window, and what the browser complained about since the visit began.
 */
export async function pageFaults({ page, complaints }: Visit): Promise<string[]> {
  const faults: string[] = [];
  await page.evaluate(axe.source);
  for (const width of WIDTHS) {
    await page.setViewportSize({ width, height: HEIGHT });
    for (const colorScheme of COLOR_SCHEMES) {
      // Colours that are still on their way have no contrast of their own.
      await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
      const where = `at ${width} px, ${colorScheme}:`;
      const { violations } = await page.evaluate<{ violations: Violation[] }>(
        `axe.run(document, { runOnly: ${JSON.stringify(STANDARDS)}, resultTypes: ['violations'] })`,
      );
      for (const { id, nodes } of violations) {
        for (const { target, failureSummary } of nodes) faults.push(`${where} ${id}: ${target} ${failureSummary}`);
      }
      faults.push(...(await wideElements(page)).map((element) => `${where} too wide: ${element}`));
    }
  }
  return [...faults, ...complaints];
}

/** What is wrong with the page at any width, whatever its language: cheap, so that every translation has its turn. */
export async function layoutFaults({ page, complaints }: Visit): Promise<string[]> {
  const faults: string[] = [];
  for (const width of WIDTHS) {
    await page.setViewportSize({ width, height: HEIGHT });
    faults.push(...(await wideElements(page)).map((element) => `at ${width} px too wide: ${element}`));
  }
  return [...faults, ...complaints];
}

/** What reaches over the right edge of the page; nothing, where the page can't be scrolled sideways. */
export function wideElements(page: Page): Promise<string[]> {
  return page.evaluate<string[]>(`(() => {
    const { scrollWidth, clientWidth } = document.documentElement;
    if (scrollWidth <= clientWidth) return [];
    return [...document.querySelectorAll('body *')]
      .filter((element) => element.getBoundingClientRect().right > clientWidth)
      .map((element) => element.outerHTML.slice(0, 120));
  })()`);
}
