// Owns: cutting an expression's text into tokens, one at a time, and the errors inside a token (numbers, strings).
// Doesn't own: which token may follow which; a character that no token starts with becomes an "unknown" token for the parser to refuse.
// I1: every token lies within the text, starts at or after the end of the one before, and each `advance` ends or moves on.
import { characterAt, clip, invalid } from "./errors.ts";

export type Operator = "+" | "-" | "*" | "/";
export type TokenKind = Operator | "(" | ")" | "," | "name" | "number" | "string" | "end" | "unknown";

const TAB = 0x09;
const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const SPACE = 0x20;
const DOUBLE_QUOTE = 0x22;
const SINGLE_QUOTE = 0x27;
const DOT = 0x2e;
const BACKSLASH = 0x5c;

const SYMBOLS: ReadonlyMap<number, TokenKind> = new Map(
  (["+", "-", "*", "/", "(", ")", ","] as const).map((symbol) => [symbol.charCodeAt(0), symbol]),
);

const ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  "'": "'",
  "\\": "\\",
  "/": "/",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
};

const isSpace = (code: number): boolean => code === SPACE || code === TAB || code === LINE_FEED || code === CARRIAGE_RETURN;
const isDigit = (code: number): boolean => code >= 0x30 && code <= 0x39;
const isNameStart = (code: number): boolean => (code >= 0x61 && code <= 0x7a) || (code >= 0x41 && code <= 0x5a) || code === 0x5f;

/** Holds the current token in its fields; `advance` moves on to the next. */
export class Lexer {
  kind: TokenKind = "end";
  start = 0;
  end = 0;
  /** The value of a "number" token. */
  number = 0;
  /** The value of a "string" token, or a "name". */
  string = "";
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
    this.advance();
  }

  /** @throws {LockstepError} EXPRESSION_INVALID for a malformed number or string */
  advance(): void {
    let at = this.end;
    while (isSpace(this.#text.charCodeAt(at))) at++;
    this.start = at;
    const code = this.#text.charCodeAt(at);
    if (Number.isNaN(code)) this.#take("end", at);
    else if (isDigit(code)) this.#takeNumber();
    else if (isNameStart(code)) this.#takeName();
    else if (code === DOUBLE_QUOTE || code === SINGLE_QUOTE) this.#takeString(code);
    else this.#take(SYMBOLS.get(code) ?? "unknown", at + 1);
  }

  /** The current token as messages show it. */
  found(): string {
    if (this.kind === "string") return `the string ${JSON.stringify(clip(this.string))}`;
    if (this.kind === "unknown" || this.kind === "end") return characterAt(this.#text, this.start);
    return `"${clip(this.#text.slice(this.start, this.end))}"`;
  }

  #take(kind: TokenKind, end: number): void {
    this.kind = kind;
    this.end = end;
  }

  #takeName(): void {
    let at = this.start + 1;
    for (let code = this.#text.charCodeAt(at); isNameStart(code) || isDigit(code); code = this.#text.charCodeAt(at)) at++;
    this.string = this.#text.slice(this.start, at);
    this.#take("name", at);
  }

  #takeNumber(): void {
    let at = this.#skipDigits(this.start);
    if (this.#text.charCodeAt(at) === DOT) at = this.#skipDigits(this.#needDigit(at + 1));
    if (this.#text[at] === "e" || this.#text[at] === "E") {
      const signed = this.#text[at + 1] === "+" || this.#text[at + 1] === "-";
      at = this.#skipDigits(this.#needDigit(at + (signed ? 2 : 1)));
    }
    const digits = this.#text.slice(this.start, at);
    this.number = Number(digits);
    // JSON has no Infinity: it would reach the function as null.
    if (this.number === Number.POSITIVE_INFINITY) throw invalid(this.start, ["a number below 1.8e308"], `"${clip(digits)}"`);
    this.#take("number", at);
  }

  #skipDigits(from: number): number {
    let at = from;
    while (isDigit(this.#text.charCodeAt(at))) at++;
    return at;
  }

  #needDigit(at: number): number {
    if (!isDigit(this.#text.charCodeAt(at))) throw invalid(at, ["a digit"], characterAt(this.#text, at));
    return at;
  }

  #takeString(quote: number): void {
    let value = "";
    let at = this.start + 1;
    for (let from = at; ; ) {
      const code = this.#text.charCodeAt(at);
      if (code === quote) {
        this.string = value + this.#text.slice(from, at);
        this.#take("string", at + 1);
        return;
      }
      if (code === BACKSLASH) {
        value += this.#text.slice(from, at) + this.#escapeAt(at);
        at += this.#text[at + 1] === "u" ? 6 : 2;
        from = at;
      } else if (code >= SPACE) at++;
      else throw this.#unfinished(at, quote);
    }
  }

  // The end of the text, or a control character: as in JSON, a string does not run over the end of a line.
  #unfinished(at: number, quote: number): Error {
    const mark = String.fromCharCode(quote);
    return invalid(at, [`the ${mark} that ends the string of column ${this.start + 1}`], characterAt(this.#text, at));
  }

  #escapeAt(at: number): string {
    const letter = this.#text[at + 1] ?? "";
    const hexadecimal = this.#text.slice(at + 2, at + 6);
    if (letter === "u" && /^[0-9a-fA-F]{4}$/.test(hexadecimal)) return String.fromCharCode(Number.parseInt(hexadecimal, 16));
    const character = ESCAPES[letter];
    if (character !== undefined) return character;
    throw invalid(at + 1, ["an escape: one of \\ / \" ' b f n r t, or u and four hexadecimal digits"], characterAt(this.#text, at + 1));
  }
}
