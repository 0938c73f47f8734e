/** Does nothing: what starting a runtime costs. */
export {};
