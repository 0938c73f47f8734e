/** Exit statuses of every command. */
export const EXIT = { asExpected: 0, finding: 1, usage: 2, unknown: 3 } as const;
