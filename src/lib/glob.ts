/**
 * Whether `text` fits `pattern`, in which `*` stands for any text, also none and also slashes. Takes time in proportion to their lengths'
 * product at most: patterns come from user code, and a regular expression with many stars would not end.
 */
export const fitsGlob = (pattern: string, text: string): boolean => {
  let p = 0;
  let t = 0;
  /** The star seen last, and where in the text what follows it was last tried. */
  let star = -1;
  let tried = 0;
  while (t < text.length) {
    const expected = pattern[p];
    if (expected === "*") {
      star = p++;
      tried = t;
    } else if (expected === text[t]) {
      p++;
      t++;
    } else if (star >= 0) {
      // What follows the star begins later than was tried.
      p = star + 1;
      t = ++tried;
    } else return false;
  }
  while (pattern[p] === "*") p++;
  return p === pattern.length;
};
