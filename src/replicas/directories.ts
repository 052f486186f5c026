import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { ReplicaIndex } from "../consensus/membership.ts";

/** The directory in a set's folder of a seat that has been begun anew so many times. */
export const directoryOf = (folder: string, index: ReplicaIndex, generation: number): string => join(folder, `${index}-${generation}`);

/** Removes what the replicas before `generation` have left of a seat. What can't be removed now is found the next time. */
export const removeEarlier = async (folder: string, index: ReplicaIndex, generation: number): Promise<void> => {
  const names = await readdir(folder).catch(() => []);
  const earlier = names.filter((name) => {
    const [, seat, number] = /^(\d+)-(\d+)$/.exec(name) ?? [];
    return Number(seat) === index && Number(number) < generation;
  });
  await Promise.allSettled(earlier.map((name) => rm(join(folder, name), { recursive: true, force: true })));
};
