/** What is wrong with the setting `name`. */
export type Fault = { name: string; line: string };

/** A setting is told of once: what else is wrong with it hangs on what was found first. */
export function report(faults: Fault[], name: string, want: string): void {
  if (!faults.some((fault) => fault.name === name)) faults.push({ name, line: `${name} ${want}` });
}
