//! How a system's line is shown, as text and as JSON.

use super::*;

impl Line {
    pub(super) fn json(&self, session: &Session, survey: &Survey) -> serde_json::Value {
        let system = session.plan.systems.get(&self.name);
        let copies: Vec<_> = copies(session, survey, &self.name)
            .into_iter()
            .map(|(vault, site, count)| json!({ "vault": vault, "site": site, "points": count }))
            .collect();
        json!({ "system": self.name, "fine": self.is_fine(), "newest_complete": self.newest, "suspicious": self.left_out, "bytes": self.bytes,
            "rpo": system.map(|s| s.rpo), "rto": system.map(|s| s.rto), "rpo_kept": self.rpo_kept, "loss_now": self.loss, "back_after": self.back,
            "not_in": self.missing, "left_behind": self.left_behind, "advised": self.advised, "unknown_in": self.unknown.vaults, "not_known": self.unknown.why,
            "last_known": self.unknown.known.as_ref().map(|(time, _)| time), "verified": self.verified, "verifications": self.proofs, "last_failure": self.last_failure, "gone": self.gone, "dropped": self.dropped.iter().map(|(what, _)| what).collect::<Vec<_>>(), "copies": copies, "summary": self.honest(system.map(|s| s.rpo)),
            "group": self.group, "unfinished": self.unfinished.as_ref().map(crate::cli::unfinished::document),
            "log": self.log.as_ref().map(|log| json!({ "until": log.until, "broken": log.broken, "not_known": log.unknown, "measured": log.measured, "behind": log.behind, "ahead": log.ahead, "stops": log.stops })), "went_back": self.went_back })
    }

    pub(super) fn print(&self, session: &Session, survey: &Survey) {
        let Some(system) = session.plan.systems.get(&self.name) else { return };
        println!(
            "{} {} ({})",
            if self.is_fine() { "ok " } else { "!! " },
            system.title(&self.name),
            self.name
        );
        println!("    {}", self.honest(Some(system.rpo)));
        if let Some(one) = &self.unfinished {
            println!("      to do: {}", one.way_out());
        }
        match self.newest {
            Some(newest) => println!(
                "    newest    {}, {}{}",
                time(newest),
                size(self.bytes),
                if self.rpo_kept { "" } else { ": OLDER THAN PROMISED" }
            ),
            None if self.unknown.why.is_some() => {
                println!("    newest    not known; {}", self.unknown.last());
            }
            None if self.unknown.is_first => println!("    newest    none yet: releve backup {}", self.name),
            None => println!("    newest    none"),
        }
        if let (Some(newest), Some((known, there))) = (self.newest, &self.unknown.known)
            && newest < *known
            && self.unknown.vaults.iter().any(|vault| there.contains(vault))
        {
            println!("    known     a newer one, of {}, in a vault that could not be asked", time(*known));
        }
        if let Some(gone) = &self.gone {
            println!("    GONE      {gone}");
        }
        for (what, way_out) in &self.dropped {
            println!("    DROPPED   {}", show::dates(what));
            println!("              {way_out}");
        }
        self.print_left_out();
        if let Some(went_back) = self.went_back {
            println!(
                "    NEEDED    a new point: the recovery of {} went back, and what was made before it is left out: releve backup {}",
                time(went_back),
                self.name
            );
        }
        if let Some(log) = &self.log {
            match (&log.broken, &log.unknown, log.until) {
                (Some(why), _, _) => println!("    LOG       BROKEN: {why}"),
                (None, Some(why), _) => println!("    log       not known: {why}"),
                (None, None, Some(until)) => println!("    log       any instant up to {}", time(until)),
                (None, None, None) if log.ahead.is_some() => {}
                (None, None, None) => {
                    println!("    log       goes on from the newest point; nobody could tell how far");
                }
            }
            if let Some(ahead) = log.ahead {
                println!(
                    "    LOG       how far it goes is not known: a clock was wrong that said {}; once it is right, the agent says it anew: releve agent",
                    time(ahead)
                );
            }
            match log.measured {
                Some(true) => println!("    measured  in its data, by a row that the agent writes"),
                Some(false) => println!(
                    "    measured  NO: what a crash costs is known from the log alone; the agent says why"
                ),
                None => {}
            }
            if let Some(why) = log.stops.as_ref().filter(|_| log.broken.is_none()) {
                println!("    LOG       {why}");
            }
            for vault in &log.behind {
                println!("    LOG       in {vault} it ends earlier than promised");
            }
        }
        if let Some(group) = &self.group {
            let others = group.systems.iter().filter(|system| **system != self.name);
            let others: Vec<_> = others.map(|system| system.0.as_str()).collect();
            println!(
                "    together  with {} to {}, {:.2} apart",
                others.join(", "),
                time(group.instant),
                group.apart
            );
        }
        println!("    promised  lose at most {}, back in {}", system.rpo, system.rto);
        let copies: Vec<_> = copies(session, survey, &self.name)
            .into_iter()
            .map(|(vault, site, count)| format!("{count} in {vault} ({site})"))
            .collect();
        let not_known = self.unknown.why.is_some();
        match copies.as_slice() {
            [] if not_known => println!("    points    not known"),
            [] => println!("    points    none"),
            copies => println!("    points    {}", copies.join(", ")),
        }
        // Where there is no point, none can be copied or verified.
        for vault in self.missing.iter().filter(|_| self.newest.is_some()) {
            let first = match self.full.contains(vault) {
                true => format!("no space was left there: first releve prune {vault} --now, then "),
                false => String::new(),
            };
            println!("    MISSING   the newest complete point is not in {vault}: {first}releve sync");
        }
        for what in &self.left_behind {
            println!("    LACKS     {what}");
            println!(
                "              its configuration names that, and it will not start on another machine without"
            );
        }
        for what in &self.advised {
            println!("    CHANGE    {what} Then: releve backup {}", self.name);
        }
        for vault in self.unknown.vaults.iter().filter(|_| self.newest.is_some()) {
            println!("    UNKNOWN   whether the newest complete point is in {vault}: it could not be asked");
        }
        self.print_verified(session);
        match &self.back {
            Predicted::Known { value, from } => println!("    back      in {value:.2}, from {from}"),
            Predicted::Unknown { why } => println!("    back      UNKNOWN: {why}"),
        }
        for drill in &self.drills {
            println!("    drill     {drill}: NEVER REHEARSED");
        }
        if let Some(why) = &self.last_failure {
            println!("    FAILED    the last backup: {why}");
            if lacks_room(why) {
                println!("              to make room in the vault: releve prune --now");
            }
        }
    }

    /// Says when each vault was verified last, and how that stands to the newest point.
    pub(super) fn print_verified(&self, session: &Session) {
        if self.unknown.is_first {
            return;
        }
        if self.unknown.why.is_some() {
            println!("    verified  not known");
            return;
        }
        for proof in &self.proofs {
            println!("    verified  {}", verified(session, proof));
        }
        let is_read = self.proofs.iter().any(|proof| proof.last.is_some());
        match self.verified {
            Some(when) => println!("    verified  the newest point: {}", time(when)),
            None if self.newest.is_none() && self.gone.is_some() => {
                println!("    verified  not known: what was is gone");
            }
            None if self.newest.is_none() => {}
            None if is_read => {
                let made = self.newest.unwrap_or_default();
                let since = self.proofs.iter().filter_map(|proof| proof.last).all(|last| last < made);
                let why = if since { "made since" } else { "not all of its data was read yet" };
                println!("    verified  the newest point: not verified yet ({why})");
            }
            None => println!("    verified  the newest point: NEVER"),
        }
    }

    pub(super) fn print_left_out(&self) {
        let Some(newest) = self.left_out.first() else { return };
        println!("    LEFT OUT  {} of {}: {}", newest.id, time(newest.time), newest.why);
        if self.left_out.len() > 1 {
            println!("              and {} more that are not good, or not whole", self.left_out.len() - 1);
        }
        // An attack isn't hidden by what merely could not be read since.
        let doubted = self.left_out.iter().find(|left| left.rating != Rating::Incomplete);
        if let Some(doubted) = doubted.filter(|doubted| doubted.id != newest.id) {
            println!("              among them {} of {}: {}", doubted.id, time(doubted.time), doubted.why);
        }
        match doubted {
            Some(doubted) => {
                println!("              if it is as it should be: releve points --trust {}", doubted.id);
            }
            None => println!("              once what is in the way is mended: releve backup {}", self.name),
        }
    }
}

/// Says of one vault when it was verified last, what share of it, and what came of that.
pub(super) fn verified(session: &Session, proof: &Proof) -> String {
    let Proof { vault, last, share, all, sound, overdue } = proof;
    let Some(last) = last else { return format!("in {vault} NEVER: releve verify {vault} --read-data all") };
    let read = match (*share >= 1.0, all) {
        (true, _) => "all of it".to_owned(),
        (false, Some(all)) => format!("{:.0}% of it, and all since {}", share * 100.0, time(*all)),
        (false, None) => format!("{:.0}% of it, and not all yet", share * 100.0),
    };
    let came = match (*sound, *overdue) {
        (false, _) => format!("DAMAGED: releve repair {vault}"),
        (true, true) => {
            let every = session.plan.policy.verify.as_ref().map_or(COUNTS_FOR, |verify| verify.every);
            format!("LONGER AGO than {every}: releve verify {vault} --read-data all")
        }
        (true, false) => "sound".to_owned(),
    };
    format!("in {vault} {}, {read}; {came}", time(*last))
}
