import type { causeStrings } from "../causes.ts";

export const causes: Record<keyof typeof causeStrings, string> = {
  never_connected:
    "Not connected yet|This device has not sent video since the server started.|Enter the server's address and the token in the device, then start sending.",
  never_opened: "Waiting|The field has not gone live yet.|Ask them to open the link and press “Go live”.",
  no_packets:
    "No data|The device is connected, but no media packet has arrived.|Check that it really captures, and that the firewall lets media through.",
  no_key_frame:
    "Waiting for key frame|Data arrives, but no key frame to start from yet.|Usually over in 1–2 s; if not, shorten the device's key-frame interval.",
  ice_timeout:
    "No path|The device's checks never reached the media port.|Open the media UDP port in the firewall; set the public address in the configuration.",
  dtls_failed:
    "Handshake failed|The encryption handshake with the device failed.|Check the device's clock and firmware, then restart it.",
  consent_lost:
    "Network lost|The device's network went away.|Wait for its network; a phone comes back by itself.",
  closed: "Stopped|The device ended it.|Ask the field to start again when the picture is needed.",
  replaced:
    "Replaced|The same stream is being sent from somewhere else.|Check whether two devices use the same token.",
  ended_by_officer: "Ended by officer|An officer ended it.|Ask the field to start again when needed.",
  revoked: "Revoked|The device's credential was revoked.|Issue a new link or token.",
  expired: "Link expired|The join link has expired.|Make a new link for the field when needed.",
  codec:
    "Codec|This browser cannot show this video's codec.|Set the device to VP8 or H.264, or watch with Chrome or Edge.",
  stalled: "Stalled|No packet for more than a second.|Mostly the field's network; it goes on by itself.",
  not_connected:
    "Media not connected|This desk has no connection to the media server yet.|It reconnects by itself; if not, check the network from here to the media port.",
  bandwidth:
    "Bandwidth|This desk's link does not carry more, so a lower quality is shown.|Show fewer pictures, or check this desk's network.",
  overloaded:
    "Server full|The server is too busy for this picture: talk comes first.|It comes back by itself; close pictures that matter less.",
  source:
    "Source is lower|The device does not send a higher quality.|Raise its resolution if more is needed.",
  paused: "Paused|The tile is not visible, so nothing is received.|It goes on when it is looked at.",
  media_restarted:
    "Media restarted|The media service has just restarted and is joined again.|Back in a few seconds.",
  disabled:
    "Switched off|Pulling cameras is switched off in the configuration.|Have it enabled in ingest.rtsp.",
  refused: "Refused|The camera refused the connection.|Check its address, port and whether RTSP is on.",
  timeout:
    "Timed out|The camera did not answer in time.|Check its network and power; the server keeps trying.",
  unauthorized:
    "Wrong password|The camera refused user name or password.|Enter the right password; retries are slow so that it does not lock us out.",
  not_found: "Not there|The camera has no such video, or it was deleted.|Check the path.",
  not_admitted:
    "Not admitted|The address is in no admitted network.|Have it admitted in the configuration (ingest.rtsp.networks).",
  b_frames:
    "B-frames|The video has B-frames; a browser would skip most pictures.|Turn B-frames off in the device.",
  broken:
    "Broken data|What arrives cannot be read.|Restart the device; if that does not help, pass on the diagnostics.",
  ended: "Ended|The camera ended the stream.|The server connects again by itself.",
};
