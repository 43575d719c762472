/** A clock that goes on in a hidden tab, where the page's own timers are slowed down to one a minute. */
const EVERY_MS = 500;

setInterval(() => postMessage(0), EVERY_MS);
