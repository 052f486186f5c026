import { LockstepError } from "../lib/errors.ts";

const SHOWN = 60;

/** A piece of text short enough to be quoted in a message. */
export const clip = (text: string): string => (text.length <= SHOWN ? text : `${text.slice(0, SHOWN).toWellFormed()}…`);

/** What people call an offset: counted from 1, in UTF-16 code units, line breaks included. */
export const columnOf = (position: number): number => position + 1;

const alternatives = (items: readonly string[]): string =>
  items.length < 2 ? items.join("") : `${items.slice(0, -1).join(", ")} or ${items[items.length - 1]}`;

/** Describes the character at `position`; those that nobody can see are named by their code point. */
export const characterAt = (text: string, position: number): string => {
  const point = text.codePointAt(position);
  if (point === undefined) return "the end of the text";
  const character = String.fromCodePoint(point);
  return /[\p{C}\p{Z}]/u.test(character) ? `U+${point.toString(16).toUpperCase().padStart(4, "0")}` : `"${character}"`;
};

/** @param position 0-based offset in the expression's text, at most its length */
export const invalid = (position: number, expected: readonly string[], found: string): LockstepError =>
  new LockstepError("EXPRESSION_INVALID", `expected ${alternatives(expected)} at column ${columnOf(position)}, found ${found}`, {
    details: { position, expected: [...expected] },
  });

export const unknownVariable = (name: string, position: number): LockstepError =>
  new LockstepError("UNKNOWN_VARIABLE", `variable "${clip(name)}" at column ${columnOf(position)} was given no value`, {
    details: { position, name },
  });

/** @param operator the operator that stands for the function, if it was not called by name */
export const unknownFunction = (name: string, position: number, operator?: string): LockstepError => {
  const use =
    operator === undefined ? `called at column ${columnOf(position)}` : `which "${operator}" at column ${columnOf(position)} calls`;
  return new LockstepError("UNKNOWN_FUNCTION", `no deployed application defines function "${clip(name)}", ${use}`, {
    details: { position, name },
  });
};
