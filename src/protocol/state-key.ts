/** A table's name and what follows the slash; both together are the key. */
const TABLE = /^[a-zA-Z][a-zA-Z0-9_-]{0,99}$/;

const MOST_BYTES = 1_000;

// Control characters, U+0000 among them, are what databases and logs stumble over.
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it looks for
const CONTROL = /[\u0000-\u001f\u007f]/;

// Nearly every key: one look instead of the many that tell what is wrong.
const PLAIN = /^[a-zA-Z][a-zA-Z0-9_-]{0,99}\/[ -~]{1,1000}$/;

/** Why `key` can't be a state key, as the end of a sentence; `undefined` when it can. */
export const stateKeyProblem = (key: unknown): string | undefined => {
  if (typeof key !== "string") return `must be a text such as "orders/17", not ${typeof key}`;
  if (PLAIN.test(key)) return undefined;
  const slash = key.indexOf("/");
  if (slash < 0) return 'has no table: write it as "table/key"';
  if (!TABLE.test(key.slice(0, slash)))
    return 'has no valid table before its slash: use a letter, then up to 99 letters, digits, "-" or "_"';
  if (slash === key.length - 1) return "has nothing after its table";
  return textProblem(key.slice(slash + 1), "after its table");
};

/** Why no key can begin with `prefix`; `undefined` when one can. */
export const statePrefixProblem = (prefix: unknown): string | undefined => {
  if (typeof prefix !== "string") return `must be a text such as "orders/", not ${typeof prefix}`;
  const slash = prefix.indexOf("/");
  if (slash < 0) return 'names no table: write it as "table/prefix", or "table/" for the whole of a table';
  if (!TABLE.test(prefix.slice(0, slash))) return "has no valid table before its slash";
  return textProblem(prefix.slice(slash + 1), "after its table");
};

const textProblem = (text: string, where: string): string | undefined => {
  if (CONTROL.test(text)) return `holds a control character ${where}`;
  if (!text.isWellFormed()) return `holds half of a surrogate pair ${where}`;
  return text.length * 3 > MOST_BYTES && utf8Length(text) > MOST_BYTES ? `has more than ${MOST_BYTES} bytes ${where}` : undefined;
};

const utf8Length = (text: string): number => {
  let bytes = 0;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    // Each half of a surrogate pair stands for two of its four bytes.
    bytes += unit < 0x80 ? 1 : unit < 0x800 || (unit >= 0xd800 && unit <= 0xdfff) ? 2 : 3;
  }
  return bytes;
};
