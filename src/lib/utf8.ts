/**
 * The order of two well-formed texts by their UTF-8 bytes, which is that of their code points and of databases. That of JavaScript, by
 * UTF-16 units, differs where surrogates stand against U+E000 to U+FFFF.
 * @returns a negative number, 0 or a positive one, as for `sort`
 */
export const compareUtf8 = (a: string, b: string): number => {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x !== y) return rank(x) - rank(y);
  }
  return a.length - b.length;
};

const FIRST_SURROGATE = 0xd800;
const LAST_SURROGATE = 0xdfff;

// Surrogates stand for code points above all others.
const rank = (unit: number): number => (unit >= FIRST_SURROGATE && unit <= LAST_SURROGATE ? unit + 0x10000 : unit);
