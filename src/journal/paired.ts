import { compareUtf8 } from "../lib/utf8.ts";

/** Goes through both, which are in the order of their keys: what has the same key comes together. */
export function* paired<A extends { key: string }, B extends { key: string }>(
  left: Iterable<A>,
  right: Iterable<B>,
): Generator<readonly [A, B | undefined] | readonly [undefined, B]> {
  const others = right[Symbol.iterator]();
  let other = others.next();
  for (const one of left) {
    for (; !other.done && compareUtf8(other.value.key, one.key) < 0; other = others.next()) yield [undefined, other.value];
    const isSame = !other.done && other.value.key === one.key;
    yield [one, isSame ? other.value : undefined];
    if (isSame) other = others.next();
  }
  for (; !other.done; other = others.next()) yield [undefined, other.value];
}
