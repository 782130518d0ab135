//! The steps of a runbook: in which order they come, and what each waits for.

use super::*;

impl Runbook {
    /// Adds what stops the systems, users before what they use, and returns what must have stopped before the data of each comes back: itself, and what uses it.
    /// Only the nearest of these: each of them waits for those that use it in turn.
    pub(super) fn push_stops(
        &mut self,
        plan: &Plan,
        order: &[Ordered],
        ready: &BTreeMap<SystemName, Vec<usize>>,
    ) -> BTreeMap<SystemName, Vec<usize>> {
        let mut stops = BTreeMap::new();
        // Nothing is to be stopped in most plans, and then nothing waits for that.
        let has_stop = |ordered: &Ordered| {
            plan.systems.get(&ordered.system).is_some_and(|system| system.recover.stop.is_some())
        };
        if !order.iter().any(has_stop) {
            return stops;
        }
        let selected: BTreeSet<&SystemName> = order.iter().map(|ordered| &ordered.system).collect();
        // Of the whole plan: between two that are recovered may stand one that isn't.
        let names: Vec<SystemName> = plan.systems.keys().cloned().collect();
        let all = recovery_order(plan, &names);
        // What uses a system and must have stopped, as far as it is known: users come first.
        let mut users: BTreeMap<&SystemName, BTreeSet<usize>> = BTreeMap::new();
        for name in all.iter().rev().map(|ordered| &ordered.system) {
            let Some(system) = plan.systems.get(name) else { continue };
            let before = users.remove(name).unwrap_or_default();
            let is_selected = selected.contains(name);
            let recover = &system.recover;
            let stop = recover.stop.as_ref().filter(|_| recover.instead.is_empty() && is_selected);
            let own = stop.map(|stop| {
                let after = ready.get(name).into_iter().flatten().copied().chain(before.iter().copied());
                self.push(after.collect(), Some(name), StepKind::Stop(stop.clone()))
            });
            let nearest = own.map_or_else(|| before.clone(), |own| BTreeSet::from([own]));
            for need in &system.needs {
                users.entry(need).or_default().extend(&nearest);
            }
            if is_selected {
                stops.insert(name.clone(), before.into_iter().chain(own).collect());
            }
        }
        stops
    }

    /// Adds what follows from a system's source, and returns what its end waits for. It is started only after what it needs is `running`.
    pub(super) fn push_default(
        &mut self,
        name: &SystemName,
        system: &System,
        before: Vec<usize>,
        running: Vec<usize>,
    ) -> Vec<usize> {
        let in_parts = !system.recover.first.is_empty();
        let kind = if in_parts { StepKind::First } else { StepKind::Restore };
        let data = self.push(before, Some(name), kind);
        let mut last = vec![data];
        last.extend(running);
        if let Some(start) = &system.recover.start {
            last = vec![self.push(last, Some(name), StepKind::Start(start.clone()))];
        }
        if system.source.as_ref().is_some_and(Source::recovers) {
            last = vec![self.push(last, Some(name), StepKind::Open)];
        }
        if !system.check.is_empty() {
            let checks = system.check.iter();
            last = checks
                .map(|check| self.push(last.clone(), Some(name), StepKind::Check(check.clone())))
                .collect();
        }
        if system.source.as_ref().is_some_and(Source::is_inspected) {
            // Nobody waits for it: it may take longer than what was promised.
            let at = self.push(last.clone(), Some(name), StepKind::Inspect);
            if let Some(step) = self.steps.get_mut(at) {
                step.meanwhile = true;
            }
        }
        if in_parts {
            // Nobody waits for it either: that is what it is for.
            self.push(vec![data], Some(name), StepKind::Rest);
        }
        last
    }

    /// Adds that what is held back for a system is released once its checks have passed, and a person has said so where one must. Nobody waits for that: it is
    /// back without.
    pub(super) fn push_release(&mut self, name: &SystemName, system: &System, mut before: Vec<usize>) {
        if system.recover.hold.is_empty() {
            return;
        }
        let kind = StepKind::Free(system.recover.hold.clone());
        let mut only_if = None;
        if let Some(who) = &system.recover.released_by {
            let answers = vec![RELEASE.to_owned(), KEEP.to_owned()];
            let text = format!("Look at it, then {kind}");
            let ask = StepKind::Ask { text, who: Some(who.clone()), within: None, answers };
            let step = self.push(before, Some(name), ask);
            self.steps.iter_mut().skip(step).for_each(|step| step.meanwhile = true);
            before = vec![step];
            only_if = Some(OnlyIf { step, answers: vec![RELEASE.to_owned()] });
        }
        let at = self.push(before, Some(name), kind);
        if let Some(step) = self.steps.get_mut(at) {
            (step.meanwhile, step.only_if) = (true, only_if);
        }
    }

    /// Adds that so many persons approve, if any must, and returns what waits for that.
    pub(super) fn approved(
        &mut self,
        persons: u32,
        before: Vec<usize>,
        system: Option<&SystemName>,
        beside: bool,
    ) -> Vec<usize> {
        if persons == 0 || beside {
            return before;
        }
        vec![self.push(before, system, StepKind::Approve(persons))]
    }

    /// Weighs what comes back, points and logs, against the room for it. What stands there already may be most of a point, but of no log.
    pub(super) fn weigh(&mut self, input: &RunbookInput<'_>) {
        let mut loads = Vec::new();
        for restore in &self.systems {
            let Some(available) = input.available.get(&restore.system) else { continue };
            let (system, point) = (&restore.system, &restore.choice.point);
            // Of a point that comes in part nobody knows how much comes.
            let is_part = !restore.left.is_empty();
            let stands = is_part || restore.standing.iter().any(|standing| standing.what.is_some());
            loads.push(Load {
                system,
                what: "the point",
                bytes: point.bytes,
                rooms: &available.rooms,
                stands,
            });
            if let (Some(_), Some(room)) = (&restore.replay, &available.log_room) {
                let (bytes, rooms) = (available.log_bytes(point), std::slice::from_ref(room));
                loads.push(Load { system, what: "the log", bytes, rooms, stands: false });
            }
        }
        let judged = judge(&loads);
        self.warnings.extend(judged.warnings);
        self.blockers.extend(judged.blockers);
    }

    pub(super) fn push(&mut self, after: Vec<usize>, system: Option<&SystemName>, kind: StepKind) -> usize {
        let system = system.cloned();
        self.steps.push(Step { after, system, kind, only_if: None, meanwhile: false, anyway: false });
        self.steps.len() - 1
    }
}
