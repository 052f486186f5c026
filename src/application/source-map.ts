/**
 * Source maps of bundles: keeps them small when they are made, and reads them when a stack trace must name the user's files.
 */
import { SourceMap } from "node:module";

interface RawMap {
  version: number;
  sources: string[];
  names: string[];
  mappings: string;
  sourcesContent?: string[];
}

const MARK = "//# sourceMappingURL=data:application/json;base64,";
// Below this, what packages add to the map costs less than taking it out.
const SMALL = 65_536;

/** The same bundle with a source map that, when it is large, covers only the application's own files and no package's. */
export const withOwnSourceMap = (code: string): string => {
  const at = code.lastIndexOf(MARK);
  if (at < 0 || code.length - at < SMALL) return code;
  const map = withoutPackages(decode(code, at));
  return `${code.slice(0, at)}${MARK}${Buffer.from(JSON.stringify(map)).toString("base64")}\n`;
};

/**
 * Makes what rewrites the places in a stack trace from `filename:line:column` of the bundle to the user's files. The bundle is only read, and
 * its map parsed, when the first stack is rewritten. `linesBefore` counts lines that the loader puts before the code.
 */
export const stackMapper = (readCode: () => string, filename: string, linesBefore = 0): ((stack: string) => string) => {
  const place = new RegExp(`${filename.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")}:(\\d+):(\\d+)`, "g");
  let map: SourceMap | undefined;
  return (stack) =>
    stack.replace(place, (whole, line: string, column: string) => {
      map ??= sourceMapOf(readCode());
      const entry = map.findEntry(Number(line) - 1 - linesBefore, Number(column) - 1);
      if (!("originalSource" in entry) || entry.originalSource === undefined) return whole;
      return `${entry.originalSource}:${entry.originalLine + 1}:${entry.originalColumn + 1}`;
    });
};

const sourceMapOf = (code: string): SourceMap => {
  const at = code.lastIndexOf(MARK);
  const map: RawMap = at < 0 ? { version: 3, sources: [], names: [], mappings: "" } : decode(code, at);
  return new SourceMap(map as ConstructorParameters<typeof SourceMap>[0]);
};

const decode = (code: string, at: number): RawMap => {
  const text = code.slice(at + MARK.length).trimEnd();
  return JSON.parse(Buffer.from(text, "base64").toString()) as RawMap;
};

const isPackage = (source: string): boolean => source.split("/").includes("node_modules");

/** Leaves out the mappings into packages; one without a source marks where such a stretch begins, else it would count to what is before it. */
const withoutPackages = (map: RawMap): RawMap => {
  const sources: string[] = [];
  const places = map.sources.map((source) => (isPackage(source) ? -1 : sources.push(source) - 1));
  const cursor: Cursor = { places, read: [0, 0, 0], written: [0, 0, 0], open: false };
  const lines = map.mappings.split(";").map((line) => (line === "" ? "" : ownSegments(line, cursor)));
  return { version: map.version, sources, names: [], mappings: lines.join(";").replace(/;+$/, "") };
};

/** Source, line and column: each segment holds their differences from the one before it. */
type Place = [source: number, line: number, column: number];

interface Cursor {
  /** The new index of each source; -1 for one that is left out. */
  places: number[];
  read: Place;
  written: Place;
  /** Whether the last segment written has a source. */
  open: boolean;
}

const ownSegments = (line: string, cursor: Cursor): string => {
  const kept: string[] = [];
  let generated = 0;
  let last = 0;
  for (const segment of line.split(",")) {
    const [column = 0, ...differences] = fromVlq(segment);
    generated += column;
    const place = differences.length < 3 ? undefined : ownPlace(differences, cursor);
    if (place === undefined && !cursor.open) continue;
    kept.push(
      toVlq(generated - last) + (place === undefined ? "" : place.map((value, i) => toVlq(value - (cursor.written[i] as number))).join("")),
    );
    last = generated;
    cursor.open = place !== undefined;
    if (place !== undefined) cursor.written = place;
  }
  return kept.join(",");
};

const ownPlace = (differences: number[], cursor: Cursor): Place | undefined => {
  cursor.read = cursor.read.map((value, i) => value + (differences[i] as number)) as Place;
  const source = cursor.places[cursor.read[0]] ?? -1;
  return source < 0 ? undefined : [source, cursor.read[1], cursor.read[2]];
};

const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const VALUES = new Uint8Array(128);
for (let value = 0; value < DIGITS.length; value++) VALUES[DIGITS.charCodeAt(value)] = value;

/** Base 64 variable-length quantities: five bits a digit, least first, the sixth tells that more follow; bit 0 of the number is its sign. */
const fromVlq = (text: string): number[] => {
  const numbers: number[] = [];
  let value = 0;
  let shift = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = VALUES[text.charCodeAt(i)] as number;
    value |= (digit & 31) << shift;
    shift += 5;
    if (digit & 32) continue;
    numbers.push(value & 1 ? -(value >>> 1) : value >>> 1);
    value = 0;
    shift = 0;
  }
  return numbers;
};

const toVlq = (number: number): string => {
  let rest = number < 0 ? (-number << 1) | 1 : number << 1;
  let text = "";
  do {
    const digit = rest & 31;
    rest >>>= 5;
    text += DIGITS[rest > 0 ? digit | 32 : digit];
  } while (rest > 0);
  return text;
};
