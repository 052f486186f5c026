// Positions beyond it are refused by the platform.
const FARTHEST = 10 ** 15 / 2;

/**
 * The position of the newest log, 0 when there is none. Only what comes after a position can be asked for, so it is found by halving: about
 * forty questions for a million logs, where reading through them would take thousands.
 * @param anyAfter whether there is a log behind a position
 */
export const lastLogPosition = async (anyAfter: (position: number) => Promise<boolean>): Promise<number> => {
  if (!(await anyAfter(0))) return 0;
  let below = 0;
  let atLeast = 1;
  while (atLeast < FARTHEST && (await anyAfter(atLeast))) {
    below = atLeast;
    atLeast *= 2;
  }
  while (atLeast - below > 1) {
    const middle = below + Math.floor((atLeast - below) / 2);
    if (await anyAfter(middle)) below = middle;
    else atLeast = middle;
  }
  return atLeast;
};
