//! How packets of each codec leave on a track: payload type, conversion of RED, extension elements, tag.

use crate::extensions::OutgoingLayout;
use crate::keys::SinkKey;
use crate::messages::{AddSink, Codec, MediaKind, TransportKind};
use crate::sink::CODECS;
use crate::state::State;
use crate::train::{Conversion, Form};
use crate::transport::Transport;

impl State {
    /// Make the forms of a track on a transport; the tag is known when the transport has keys.
    pub fn shape(&mut self, key: SinkKey) {
        let Some(peer) = self.peer(key) else { return };
        let Some(transport) = self.transports.get(peer.transport) else {
            return;
        };
        let forms = forms(&peer.command, transport, &peer.layout);
        let mut numbered = [None; CODECS];
        let mut repairs = [None; CODECS];
        let repaired = peer.command.rtx_ssrc != 0;
        let types = peer.command.codecs.clone();
        for (place, form) in forms.iter().enumerate() {
            let Some(form) = form else { continue };
            numbered[place] = Some((self.form_number(form), *form));
            let first = types.iter().find(|codec| codec.codec as usize == place);
            if let Some(codec) = first.filter(|codec| repaired && codec.rtx_payload_type != 0)
                && form.conversion == Conversion::None
            {
                repairs[place] = Some(Form { payload_type: codec.rtx_payload_type as u8, ..*form });
            }
        }
        if let Some(peer) = self.peer_mut(key) {
            peer.forms = numbered;
            peer.repair_forms = repairs;
        }
    }
}

/// How each codec that may arrive leaves: the first match of the sink's list, RED converted where that helps.
fn forms(command: &AddSink, transport: &Transport, layout: &OutgoingLayout) -> [Option<Form>; CODECS] {
    let ids = &transport.extensions;
    let slot = if command.kind == MediaKind::Video { ids.orientation } else { ids.audio_level };
    let form = |payload_type: u8, conversion: Conversion, inner: u8| Form {
        payload_type,
        conversion,
        inner,
        levelled: transport.kind != TransportKind::Plain,
        slot: if layout.slot { slot } else { 0 },
        prefix: layout.prefix.len() as u8,
        counted: layout.transport_sequence,
        padding: layout.padding as u8,
        tag: transport.sender.as_ref().map_or(0, |sender| sender.tag() as u8),
    };
    let mut types = [None; CODECS];
    for codec in &command.codecs {
        types[codec.codec as usize].get_or_insert(codec.payload_type as u8);
    }
    let mut forms = types.map(|found| found.map(|payload_type| form(payload_type, Conversion::None, 0)));
    let (opus, redundant) = (types[Codec::Opus as usize], types[Codec::Red as usize]);
    forms[Codec::Red as usize] = match (opus, redundant) {
        (None, _) => None,
        (Some(opus), None) => Some(form(opus, Conversion::RedUnwrapped, 0)),
        (Some(opus), Some(redundant)) => {
            if command.codecs.first().is_some_and(|codec| codec.codec == Codec::Red) {
                forms[Codec::Opus as usize] = Some(form(redundant, Conversion::RedWrapped, opus));
            }
            Some(form(redundant, Conversion::RedRetyped, opus))
        }
    };
    forms
}
