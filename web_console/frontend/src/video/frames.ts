/** Tells of every new frame that a <video> presents: when its last packet came, and how late it is shown (s). */
import { now } from "../clock.ts";

const POLL_MS = 250;
const PLAUSIBLE = 60; // s; a capture time further off belongs to another clock

type FrameListener = (received: number, delay: number) => void;

/** Returns how to stop. */
export function watchFrames(video: HTMLVideoElement, listener: FrameListener): () => void {
  return "requestVideoFrameCallback" in HTMLVideoElement.prototype
    ? watchCallbacks(video, listener)
    : watchCounter(video, listener);
}

function watchCallbacks(video: HTMLVideoElement, listener: FrameListener): () => void {
  let handle = 0;
  const next = (at: number, frame: VideoFrameCallbackMetadata): void => {
    const received = (frame.receiveTime ?? at) / 1000;
    const shown = frame.expectedDisplayTime / 1000;
    const captured = frame.captureTime === undefined ? Number.NaN : frame.captureTime / 1000;
    const since = shown - captured;
    listener(received, since >= 0 && since < PLAUSIBLE ? since : Math.max(0, shown - received));
    handle = video.requestVideoFrameCallback(next);
  };
  handle = video.requestVideoFrameCallback(next);
  return () => video.cancelVideoFrameCallback(handle);
}

/** For browsers that cannot tell of single frames: look at the counter. */
function watchCounter(video: HTMLVideoElement, listener: FrameListener): () => void {
  let seen = video.getVideoPlaybackQuality().totalVideoFrames;
  const timer = setInterval(() => {
    const frames = video.getVideoPlaybackQuality().totalVideoFrames;
    if (frames !== seen) listener(now() - POLL_MS / 1000, 0);
    seen = frames;
  }, POLL_MS);
  return () => clearInterval(timer);
}
