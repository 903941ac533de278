import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';

const css = readFileSync('views/assets/tessera.css', 'utf8');
const darkStart = css.indexOf('@media (prefers-color-scheme: dark)');
const darkEnd = css.indexOf('/* Ground */');

function tokens(block: string): Record<string, string> {
  return Object.fromEntries(
    [...block.matchAll(/--([\w-]+): (#[0-9a-f]{6});/g)].map(([, name, value]) => [name ?? '', value ?? '']),
  );
}

const light = tokens(css.slice(0, darkStart));
const themes = { light, dark: { ...light, ...tokens(css.slice(darkStart, darkEnd)) } };

/** WCAG 2.2, relative luminance of an sRGB colour. */
function luminance(hex: string): number {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((start) => {
    const channel = Number.parseInt(hex.slice(start, start + 2), 16) / 255;
    return channel <= 0.04045 ? channel / 12.92 : ((channel + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrast(one: string, other: string): number {
  const [darker = 0, lighter = 0] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (lighter + 0.05) / (darker + 0.05);
}

const textPairs: [text: string, grounds: string[]][] = [
  ['text', ['background', 'surface', 'surface-sunken', 'accent-soft', 'danger-soft', 'warning-soft', 'success-soft']],
  ['text-muted', ['background', 'surface', 'surface-sunken']],
  ['accent', ['background', 'surface', 'surface-sunken', 'accent-soft']],
  ['accent-hover', ['background', 'surface', 'surface-sunken', 'accent-soft']],
  ['on-accent', ['accent', 'accent-hover']],
  ['danger', ['surface', 'danger-soft']],
  ['on-danger', ['danger', 'danger-hover']],
  ['warning', ['warning-soft']],
  ['success', ['success-soft']],
];
const controlPairs: [control: string, grounds: string[]][] = [
  ['border', ['background', 'surface', 'surface-sunken']],
  ['accent', ['background', 'surface']],
  ['danger', ['background', 'surface']],
  ['tile', ['background', 'surface']],
  ['focus', ['background', 'surface', 'surface-sunken', 'danger-soft']],
];

describe.each(Object.entries(themes))('in the %s theme', (_, theme) => {
  const lowest = (pairs: [string, string[]][], least: number) =>
    pairs.flatMap(([front, grounds]) =>
      grounds
        .map((ground) => ({ front, ground, ratio: contrast(theme[front] ?? '', theme[ground] ?? '') }))
        .filter(({ ratio }) => !(ratio >= least)),
    );

  test('text has a contrast of at least 7:1', () => {
    expect(lowest(textPairs, 7)).toEqual([]);
  });

  test('controls and the focus ring have a contrast of at least 3:1', () => {
    expect(lowest(controlPairs, 3)).toEqual([]);
  });
});

test('the dark theme sets every colour of the light one', () => {
  expect(Object.keys(tokens(css.slice(darkStart, darkEnd))).sort()).toEqual(Object.keys(light).sort());
});

test('colours are named by the tokens alone', () => {
  expect(css.slice(darkEnd).match(/#[0-9a-f]{3,8}\b|\b(?:rgb|hsl|oklch)a?\(/gi)).toBeNull();
});
