"""Chromium against the real media process: simulcast by WHIP from another origin, and a console's slots."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import Page

from media.agent import colour_code
from server.model.ids import StreamId
from server.model.ports import SlotWish
from support.chromium import chromium
from support.media_site import MediaSite, Player, media_site
from support.waiting import until

SCRIPT = """
window.publish = async (url, token) => {
  const stream = await navigator.mediaDevices.getUserMedia(
    {audio: true, video: {width: 1280, height: 720, frameRate: 15}});
  const pc = window.pc = new RTCPeerConnection({bundlePolicy: 'max-bundle'});
  pc.addTransceiver(stream.getAudioTracks()[0], {direction: 'sendonly', streams: [stream]});
  pc.addTransceiver(stream.getVideoTracks()[0], {direction: 'sendonly', streams: [stream], sendEncodings: [
    {rid: 'q', scaleResolutionDownBy: 4, maxBitrate: 150000},
    {rid: 'h', scaleResolutionDownBy: 2, maxBitrate: 500000},
    {rid: 'f', maxBitrate: 1200000}]});
  await pc.setLocalDescription(await pc.createOffer());
  const headers = {Authorization: 'Bearer ' + token};
  const answer = await fetch(url, {method: 'POST', body: pc.localDescription.sdp,
    headers: {...headers, 'Content-Type': 'application/sdp'}});
  window.session = new URL(answer.headers.get('Location'), url).href;
  window.etag = answer.headers.get('ETag');
  await pc.setRemoteDescription({type: 'answer', sdp: await answer.text()});
  window.restart = async () => {
    await pc.setLocalDescription(await pc.createOffer({iceRestart: true}));
    const lines = pc.localDescription.sdp.split('\\r\\n');
    const fragment = ['a=ice-ufrag:', 'a=ice-pwd:'].map(key => lines.find(line => line.startsWith(key)));
    const reply = await fetch(session, {method: 'PATCH', body: fragment.join('\\r\\n') + '\\r\\n',
      headers: {...headers, 'If-Match': '*', 'Content-Type': 'application/trickle-ice-sdpfrag'}});
    const ours = (await reply.text()).split('\\r\\n');
    let sdp = pc.currentRemoteDescription.sdp;
    for (const key of ['a=ice-ufrag:', 'a=ice-pwd:'])
      sdp = sdp.replaceAll(new RegExp(key + '.*', 'g'), ours.find(line => line.startsWith(key)));
    await pc.setRemoteDescription({type: 'answer', sdp});
    return [reply.status, reply.headers.get('ETag')];
  };
  window.finish = async () => (await fetch(session, {method: 'DELETE', headers})).status;
};

window.videos = [];
window.offer = async (slots, iceRestart) => {
  const pc = window.pc ||= new RTCPeerConnection({bundlePolicy: 'max-bundle'});
  const wanted = (kind, test) => RTCRtpReceiver.getCapabilities(kind).codecs.filter(test);
  while (videos.length < slots) {
    const [audio, video] = ['audio', 'video'].map(kind => pc.addTransceiver(kind, {direction: 'recvonly'}));
    video.setCodecPreferences(wanted('video', codec => /vp8|rtx/i.test(codec.mimeType)
      || /42e01f/.test(codec.sdpFmtpLine) && /mode=1/.test(codec.sdpFmtpLine)));
    const element = document.createElement('video');
    element.muted = element.autoplay = element.playsInline = true;
    element.srcObject = new MediaStream([audio.receiver.track, video.receiver.track]);
    document.body.append(element);
    videos.push(element);
  }
  await pc.setLocalDescription(await pc.createOffer({iceRestart}));
  return pc.localDescription.sdp;
};
window.answer = sdp => pc.setRemoteDescription({type: 'answer', sdp});
window.picture = slot => {
  const video = videos[slot], canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  if (!canvas.width) return null;
  const context = canvas.getContext('2d');
  context.drawImage(video, 0, 0);
  const {data} = context.getImageData(0, 0, canvas.width, canvas.height);
  const luma = new Uint8Array(data.length / 4);
  for (let i = 0; i < luma.length; i++) luma[i] = data[4 * i + 1];
  let text = '';
  for (let i = 0; i < luma.length; i += 8192) text += String.fromCharCode(...luma.subarray(i, i + 8192));
  return [canvas.width, canvas.height, btoa(text)];
};
0;  // Playwright would call a function that is the value of the script
"""


@contextlib.asynccontextmanager
async def tab() -> AsyncIterator[Page]:
    """A page of another origin than the media site's."""

    async def empty(request: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>test</title><body>", content_type="text/html")

    app = web.Application()
    app.router.add_get("/", empty)
    async with TestServer(app) as server, chromium() as browser:
        page = await browser.new_page()
        await page.goto(str(server.make_url("/")))
        await page.evaluate(SCRIPT)
        yield page


async def number_shown(page: Page, slot: int) -> int | None:
    found = await page.evaluate("slot => picture(slot)", slot)
    if found is None:
        return None
    width, height, text = found
    luma = np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width)
    code = colour_code.read(luma)
    return code[0] if code else None


async def until_shown(page: Page, slot: int, number: int, within: float = 10.0) -> None:
    async with asyncio.timeout(within):
        while await number_shown(page, slot) != number:  # noqa: ASYNC110 - a browser is asked
            await asyncio.sleep(0.05)


def live_rids(site: MediaSite) -> set[str]:
    view = site.routing.stream(StreamId("1-main"))
    return {layer.rid for layer in view.layers if layer.live} if view else set()


async def test_chromium_sends_three_layers_and_survives_an_ice_restart() -> None:
    async with media_site() as site, tab() as page:
        await page.evaluate("([url, token]) => publish(url, token)", [site.url("/whip"), "fsd_1_good"])
        assert await page.evaluate("etag") == '"ice-1"'
        await until(lambda: live_rids(site) == {"q", "h", "f"}, 30.0)
        async with Player(site.http, site.url("/whep/1-main"), "fsd_2_good") as watching:
            async with asyncio.timeout(15):
                while (await watching.picture()).shape[0] != 720:
                    pass
            assert await page.evaluate("restart()") == [200, '"ice-2"']
            await until(lambda: ("path", "") in site.steps)
            await page.wait_for_function("['connected', 'completed'].includes(pc.iceConnectionState)")
            pictures = [await watching.picture() for _ in range(20)]
            assert any(not np.array_equal(pictures[0], other) for other in pictures[1:])
        assert await page.evaluate("finish()") == 200
        assert ("closed", "closed") in site.steps
        assert live_rids(site) == set()


@pytest.mark.parametrize("first", ["vp8", "h264"])
async def test_slots_of_a_chromium_console(first: str) -> None:
    second = {"vp8": "h264", "h264": "vp8"}[first]
    async with (
        media_site() as site,
        site.publishing(11, codec=first),
        site.publishing(22, codec=second, path="/whip/thermal"),
        tab() as page,
    ):
        cam, thermal = StreamId("1-main"), StreamId("1-thermal")
        await site.until_live(cam)
        await site.until_live(thermal)
        opened = await site.routing.open_console(await page.evaluate("offer(1, false)"), None)
        await page.evaluate("sdp => answer(sdp)", opened.sdp)
        session = opened.session
        await site.routing.set_slots(session, [SlotWish(slot=0, stream=cam, height=180)])
        await until_shown(page, 0, 11)
        await site.routing.set_slots(session, [SlotWish(slot=0, stream=thermal, height=180)])
        await until_shown(page, 0, 22)  # another codec on the same SSRC, no SDP
        await site.routing.set_slots(session, [SlotWish(slot=0, stream=cam, height=180)])
        await until_shown(page, 0, 11)

        grown = await site.routing.open_console(await page.evaluate("offer(4, false)"), session)
        assert [slot.slot for slot in grown.slots] == [0, 1, 2, 3]
        await page.evaluate("sdp => answer(sdp)", grown.sdp)
        await site.routing.set_slots(
            session,
            [SlotWish(slot=1, stream=cam, height=180), SlotWish(slot=3, stream=thermal, height=180)],
        )
        await until_shown(page, 1, 11)
        await until_shown(page, 3, 22)

        restarted = await site.routing.open_console(await page.evaluate("offer(4, true)"), session)
        await page.evaluate("sdp => answer(sdp)", restarted.sdp)
        assert restarted.etag == "ice-2"
        await until(lambda: ("path", "") in site.steps)
        await site.routing.set_slots(session, [SlotWish(slot=3, stream=cam, height=180)])
        await until_shown(page, 3, 11)
        await until_shown(page, 0, 11)
        assert await page.evaluate("pc.connectionState") == "connected"


async def test_slot_of_a_chromium_console_waits_for_the_stream() -> None:
    async with media_site() as site, tab() as page:
        opened = await site.routing.open_console(await page.evaluate("offer(1, false)"), None)
        await page.evaluate("sdp => answer(sdp)", opened.sdp)
        await site.routing.set_slots(
            opened.session, [SlotWish(slot=0, stream=StreamId("1-main"), height=180)]
        )
        async with site.publishing(33):
            await until_shown(page, 0, 33, within=15)
        async with site.publishing(44, codec="h264"):
            await until_shown(page, 0, 44, within=15)
