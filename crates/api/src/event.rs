//! What `GET /events` sends (Engine API 1.51): one message for each event.

use std::collections::BTreeMap;

use crate::go_struct;

go_struct! {
    /// An event.
    pub struct EventMessage = "events.Message" {
        // For clients of API 1.21 and older; of containers and images.
        status: String => "status" omitempty ("Status"),
        id: String => "id" omitempty ("ID"),
        from: String => "from" omitempty ("From"),
        kind: String => "Type",
        action: String => "Action",
        actor: EventActor => "Actor",
        scope: String => "scope" omitempty ("Scope"),
        time: i64 => "time" omitempty ("Time"),
        time_nano: i64 => "timeNano" omitempty ("TimeNano"),
    }

    /// Whom an event happened to.
    pub struct EventActor = "events.Actor" {
        id: String => "ID",
        attributes: Option<BTreeMap<String, String>> => "Attributes",
    }
}
