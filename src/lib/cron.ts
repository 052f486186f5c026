/**
 * The grammar of cron expressions: what a definition is held to. Which times an expression means is computed in the control plane alone.
 */

interface Field {
  name: string;
  least: number;
  most: number;
  /** Names that stand for numbers, the first for `least`. */
  names?: readonly string[];
  /** What else a single item may be. */
  also?: RegExp;
}

const SECOND: Field = { name: "second", least: 0, most: 59 };

const FIELDS: readonly Field[] = [
  { name: "minute", least: 0, most: 59 },
  { name: "hour", least: 0, most: 23 },
  { name: "day of the month", least: 1, most: 31, also: /^L$/ },
  { name: "month", least: 1, most: 12, names: ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"] },
  {
    name: "day of the week",
    least: 0,
    most: 7,
    names: ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
    also: /^(?:[0-7]|SUN|MON|TUE|WED|THU|FRI|SAT)(?:#[1-5]|L)$/,
  },
];

const LONGEST = 200;

/** What is wrong with a cron expression of five fields, or six with seconds first; `undefined` when nothing is. */
export const cronProblem = (text: string): string | undefined => {
  if (text.length > LONGEST) return `is longer than ${LONGEST} characters`;
  const parts = text.trim().split(/\s+/);
  if (parts.length < 5 || parts.length > 6)
    return `has ${text.trim() === "" ? 0 : parts.length} fields: give five, or six with seconds first`;
  const fields = parts.length === 6 ? [SECOND, ...FIELDS] : FIELDS;
  for (const [i, field] of fields.entries()) {
    const part = (parts[i] as string).toUpperCase();
    const wrong = part.split(",").find((item) => !isItem(item, field));
    if (wrong !== undefined) return `has "${wrong}" as its ${field.name}: ${describe(field)}`;
  }
  return undefined;
};

const describe = ({ least, most }: Field): string =>
  `use "*", numbers of ${least} to ${most}, ranges such as "${least}-${most}", steps such as "*/5", and lists of these with commas`;

const isItem = (item: string, field: Field): boolean => {
  if (field.also?.test(item) === true) return true;
  const [range = "", step, ...rest] = item.split("/");
  if (rest.length > 0 || (step !== undefined && !isStep(step, field))) return false;
  if (range === "*") return true;
  const [from = "", to, ...more] = range.split("-");
  if (more.length > 0) return false;
  const low = numberOf(from, field);
  // A step over a single number steps over nothing.
  if (to === undefined) return low !== undefined && step === undefined;
  const high = numberOf(to, field);
  return low !== undefined && high !== undefined && low <= high;
};

const isStep = (text: string, { least, most }: Field): boolean =>
  /^\d{1,2}$/.test(text) && Number(text) >= 1 && Number(text) <= most - least + 1;

const numberOf = (text: string, { least, most, names }: Field): number | undefined => {
  const named = names?.indexOf(text) ?? -1;
  if (named >= 0) return least + named;
  if (!/^\d{1,2}$/.test(text)) return undefined;
  const number = Number(text);
  return number >= least && number <= most ? number : undefined;
};
