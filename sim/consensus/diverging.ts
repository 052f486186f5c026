import { hashText } from "../../src/lib/random.ts";

/**
 * A function that isn't deterministic: some operations come to something else at some replicas, which are correct otherwise, and their state is
 * the same. It is the same each time that a replica executes the operation, so that a replica that comes back keeps to its word.
 */
export interface Diverging {
  /** Of a hundred operations so many, about. */
  share: number;
  /** Only here; otherwise at any, each operation at others. */
  replica?: number;
}

/** What a replica's outcome of an operation is off by; 0 for most. */
export const shiftOf = ({ share, replica }: Diverging, id: string, index: number, nodes: number): number => {
  const hash = hashText(id);
  if (hash % 100 >= share) return 0;
  if (replica !== undefined) return index === replica ? 1_000 : 0;
  const faults = (nodes - 1) / 3;
  const odd = 1 + ((hash >>> 8) % (2 * faults));
  const place = (index + (hash >>> 16)) % nodes;
  if (place >= odd) return 0;
  // All of them alike, or each for itself.
  return (hash >>> 24) % 2 === 0 ? 1_000 : 1_000 * (place + 1);
};

/** The last number of an outcome is another. */
export const shifted = (outcome: string, by: number): string =>
  by === 0 ? outcome : outcome.replace(/(\d+)(\D*)$/, (_, digits: string, rest: string) => `${Number(digits) + by}${rest}`);

/** Of an operation: how many replicas come to each outcome, by what it is off. */
export const shiftsOf = (diverging: Diverging, id: string, nodes: number): Map<number, number> => {
  const counts = new Map<number, number>();
  for (let index = 0; index < nodes; index++) {
    const shift = shiftOf(diverging, id, index, nodes);
    counts.set(shift, (counts.get(shift) ?? 0) + 1);
  }
  return counts;
};

/** Whether replicas may differ in it at all. */
export const differs = (diverging: Diverging, id: string, nodes: number): boolean => shiftsOf(diverging, id, nodes).size > 1;
