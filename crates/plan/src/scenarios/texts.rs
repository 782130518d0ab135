//! What ships: for each scenario its cause, its restore point, and what people do. Short, and in the imperative: it is read on a bad day.

use crate::Wanted;
use crate::model::CYBERATTACK;

/// A scenario that ships.
pub(super) struct Template {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) cause: &'static str,
    pub(super) restore_point: Wanted,
    pub(super) before: &'static [Task],
    pub(super) after: &'static [Task],
    /// Where the plan has so many people.
    pub(super) approvals: u32,
}

/// What a person does.
pub(super) struct Task {
    pub(super) who: Who,
    /// Names in braces are filled in; without any there is no such task.
    pub(super) en: &'static str,
    pub(super) fr: &'static str,
    /// By when, from the beginning.
    pub(super) minutes: u64,
    /// Nothing waits for it.
    pub(super) meanwhile: bool,
}

/// Who does it.
#[derive(Clone, Copy)]
pub(super) enum Who {
    /// Who answers for what is needed most.
    Owner,
    /// Who decides.
    Lead,
}

use Who::{Lead, Owner};

const HOUR: u64 = 60;
const DAY: u64 = 24 * HOUR;

/// What everything else waits for.
const fn first(who: Who, minutes: u64, en: &'static str, fr: &'static str) -> Task {
    Task { who, en, fr, minutes, meanwhile: false }
}

/// What is done beside it.
const fn beside(who: Who, minutes: u64, en: &'static str, fr: &'static str) -> Task {
    Task { who, en, fr, minutes, meanwhile: true }
}

/// What was restored can be whole and wrong: the figures of people who know them find that.
const COMPARE: Task = beside(
    Owner,
    4 * HOUR,
    "Compare the newest entries with paper, mails and the bank, and enter again what is missing",
    "Comparez les dernières saisies avec le papier, les courriels et la banque, et ressaisissez ce qui manque",
);

const TELL: Task = beside(
    Lead,
    HOUR,
    "Tell staff and customers what is down and when they hear more",
    "Dites au personnel et aux clients ce qui est arrêté et quand ils en sauront plus",
);

const ROTATE: Task = beside(
    Owner,
    DAY,
    "Change every password and key that {hosts} knew, those of the vaults as well: releve key rotate",
    "Changez tous les mots de passe et clés que {hosts} connaissait, ceux des coffres aussi : releve key rotate",
);

const SECOND_COPY: Task = beside(
    Owner,
    DAY,
    "Make a second vault on another site: until then there is one copy of everything",
    "Créez un second coffre sur un autre site : d'ici là, tout n'existe qu'en une seule copie",
);

/// Ready to use, one for each cause that the program is built around.
pub(super) const BUILT_IN: &[Template] = &[
    Template {
        name: "hardware-failure",
        title: "a dead disk, power supply or machine: from the newest point, onto sound hardware",
        cause: "hardware failure",
        restore_point: Wanted::Latest,
        before: &[beside(
            Owner,
            HOUR,
            "Take the failed part out and keep it until everything is back: it may hold what no copy has",
            "Retirez la pièce en panne et gardez-la jusqu'à ce que tout soit revenu : elle peut contenir ce qu'aucune copie n'a",
        )],
        after: &[COMPARE],
        approvals: 0,
    },
    Template {
        name: "human-error",
        title: "a bad setting, something deleted: from before it happened, which --before says",
        cause: "human error",
        restore_point: Wanted::BeforeNamed,
        before: &[],
        after: &[COMPARE],
        approvals: 0,
    },
    Template {
        name: "ransomware",
        title: "an intruder, encrypted files: cut off, and the last point from before the first sign",
        cause: CYBERATTACK,
        restore_point: Wanted::LastClean,
        before: &[
            first(
                Owner,
                10,
                "Unplug {unmanaged} from the network, and leave the power on",
                "Débranchez {unmanaged} du réseau, sans éteindre",
            ),
            first(
                Owner,
                HOUR,
                "Keep an image of an infected disk, or the disk itself: what is restored overwrites the traces",
                "Gardez une image d'un disque infecté, ou le disque lui-même : la restauration écrase les traces",
            ),
        ],
        after: &[
            ROTATE,
            beside(
                Lead,
                DAY,
                "Report it: police, insurer, and the data protection authority within 72 hours",
                "Déclarez-le : police, assureur, et la CNIL sous 72 heures",
            ),
            COMPARE,
            // Last: what stands behind it would wait for it.
            first(
                Lead,
                DAY,
                "Find how they came in, and close it, before anything gets its network back",
                "Trouvez par où ils sont entrés, et fermez, avant de rendre le réseau à quoi que ce soit",
            ),
        ],
        approvals: 0,
    },
    Template {
        name: "bad-update",
        title: "an update that breaks things: from before it, which --before says",
        cause: "software bug",
        restore_point: Wanted::BeforeNamed,
        before: &[first(
            Owner,
            15,
            "Hold the update back on {hosts}, so that it doesn't install itself again",
            "Bloquez la mise à jour sur {hosts}, pour qu'elle ne se réinstalle pas",
        )],
        after: &[COMPARE],
        approvals: 0,
    },
    Template {
        name: "site-loss",
        title: "fire, flood, theft: on another machine, from the copy elsewhere",
        cause: "site loss",
        restore_point: Wanted::Latest,
        before: &[TELL],
        after: &[
            beside(
                Owner,
                4 * HOUR,
                "Let names (DNS), certificates and remote access lead to this machine",
                "Faites pointer les noms (DNS), les certificats et les accès distants vers cette machine",
            ),
            SECOND_COPY,
            COMPARE,
        ],
        approvals: 0,
    },
];

const ACCOUNT_FOR_ALL: Task = beside(
    Lead,
    30,
    "Account for everybody who was on the site",
    "Assurez-vous que tous ceux qui étaient sur le site sont en sécurité",
);

/// Filled in and pasted into the plan first: what they need is different in every company.
pub(super) const TEMPLATES: &[Template] = &[
    Template {
        name: "site-loss-in-full",
        title: "loss of the whole site, with the place, the machines and the people",
        cause: "site loss",
        restore_point: Wanted::Latest,
        before: &[
            ACCOUNT_FOR_ALL,
            beside(
                Lead,
                HOUR,
                "Call the insurer, and have the damage recorded before anything is moved",
                "Appelez l'assureur, et faites constater les dégâts avant de déplacer quoi que ce soit",
            ),
            first(
                Owner,
                DAY,
                "DECIDE: get the machine that stands in (which one, from whom, where), with this plan",
                "DECIDE : procurez-vous la machine de remplacement (laquelle, chez qui, où), avec ce plan",
            ),
            first(
                Owner,
                DAY,
                "Fetch the secrets from the safe, and see that they open a vault that has survived ({away}): releve key check",
                "Sortez les secrets du coffre-fort, et vérifiez qu'ils ouvrent un coffre qui a survécu ({away}) : releve key check",
            ),
            TELL,
        ],
        after: &[
            beside(
                Owner,
                4 * HOUR,
                "Let names (DNS), certificates and remote access lead to the new machine",
                "Faites pointer les noms (DNS), les certificats et les accès distants vers la nouvelle machine",
            ),
            beside(
                Lead,
                DAY,
                "DECIDE: telephones, mail and parcels: where do they go until there is a place again?",
                "DECIDE : téléphones, courrier et colis : où vont-ils d'ici qu'il y ait de nouveau un lieu ?",
            ),
            SECOND_COPY,
            COMPARE,
        ],
        approvals: 0,
    },
    Template {
        name: "supplier-failure",
        title: "a supplier (cloud, hosting, line) is down, bankrupt or has locked us out",
        cause: "supplier failure",
        restore_point: Wanted::Latest,
        before: &[
            first(
                Lead,
                HOUR,
                "DECIDE: wait for the supplier, or leave? Ask when it is back, and by which contract (number, hotline)",
                "DECIDE : attendre le fournisseur, ou le quitter ? Demandez quand ce sera rétabli, et selon quel contrat (numéro, assistance)",
            ),
            first(
                Owner,
                4 * HOUR,
                "DECIDE: get a machine from somebody else (whom?): it must not hang on the same supplier",
                "DECIDE : prenez une machine chez un autre (qui ?) : elle ne doit pas dépendre du même fournisseur",
            ),
            TELL,
        ],
        after: &[
            beside(
                Owner,
                4 * HOUR,
                "Move what hung on the supplier: names (DNS), mail, certificates, payments",
                "Déplacez ce qui dépendait du fournisseur : noms (DNS), courrier, certificats, paiements",
            ),
            COMPARE,
            beside(
                Lead,
                7 * DAY,
                "Settle the way back or the end of the contract, and have our data there deleted",
                "Réglez le retour ou la fin du contrat, et faites-y effacer nos données",
            ),
        ],
        approvals: 0,
    },
    Template {
        name: "premises-lost",
        title: "nobody can get into the building: the machines may run, the people need a place",
        cause: "site loss",
        restore_point: Wanted::Latest,
        before: &[
            ACCOUNT_FOR_ALL,
            first(
                Lead,
                2 * HOUR,
                "Do {hosts} still run, and for how long can we stay out? Recover elsewhere only if it is longer than we survive",
                "{hosts} tourne-t-il encore, et combien de temps resterons-nous dehors ? Ne reprenez ailleurs que si c'est plus que nous ne survivons",
            ),
            first(
                Owner,
                4 * HOUR,
                "Shut down what still runs there, so that nobody writes in two places",
                "Arrêtez ce qui y tourne encore, pour que personne n'écrive à deux endroits",
            ),
            TELL,
        ],
        after: &[
            beside(
                Lead,
                DAY,
                "DECIDE: where do people work meanwhile, with which computers and telephones?",
                "DECIDE : où travaille-t-on d'ici là, avec quels ordinateurs et téléphones ?",
            ),
            beside(
                Owner,
                DAY,
                "Write down how to go back: what is new here must get there first",
                "Écrivez comment revenir : ce qui est nouveau ici doit d'abord y aller",
            ),
            COMPARE,
        ],
        approvals: 0,
    },
    Template {
        name: "staff-absence",
        title: "whoever knows how is ill, on strike or gone: others bring it back",
        cause: "staff absence",
        restore_point: Wanted::LastVerified,
        before: &[
            first(
                Lead,
                HOUR,
                "DECIDE: who acts today? For each of {first} name one who can, the deputy first",
                "DECIDE : qui agit aujourd'hui ? Pour {first}, nommez chaque fois quelqu'un qui peut, l'adjoint d'abord",
            ),
            first(
                Lead,
                2 * HOUR,
                "Fetch the secrets from the safe: who acts may not have them",
                "Sortez les secrets du coffre-fort : qui agit ne les a peut-être pas",
            ),
            beside(
                Lead,
                2 * HOUR,
                "DECIDE: call the service provider (name, number) to sit beside who acts",
                "DECIDE : appelez le prestataire (nom, numéro) pour assister qui agit",
            ),
        ],
        after: &[
            COMPARE,
            beside(
                Lead,
                7 * DAY,
                "Write down what only the absent knew, and put the names of now into the plan",
                "Écrivez ce que seul l'absent savait, et mettez les noms actuels dans le plan",
            ),
        ],
        approvals: 0,
    },
    Template {
        name: "power-loss",
        title: "no power or cooling on the site: shut down in order, or go elsewhere",
        cause: "power loss",
        restore_point: Wanted::Latest,
        before: &[
            first(
                Lead,
                15,
                "How long will it last, and how long do the batteries? Recover elsewhere only if the batteries are the shorter",
                "Combien de temps cela durera-t-il, et combien tiennent les batteries ? Ne reprenez ailleurs que si les batteries tiennent moins",
            ),
            first(
                Owner,
                30,
                "Shut {hosts} down while there is power: what is cut off while it writes may be damaged",
                "Arrêtez {hosts} tant qu'il y a du courant : ce qui est coupé en pleine écriture peut être abîmé",
            ),
            TELL,
        ],
        after: &[
            beside(
                Owner,
                DAY,
                "When the power is back: first network and storage, then look at the disks (SMART, file systems), then the rest one by one",
                "Au retour du courant : d'abord réseau et stockage, puis regardez les disques (SMART, systèmes de fichiers), puis le reste un par un",
            ),
            COMPARE,
        ],
        approvals: 0,
    },
    Template {
        name: "insider",
        title: "somebody of our own destroys, steals or changes data: what that person knows opens nothing any more",
        cause: CYBERATTACK,
        restore_point: Wanted::LastClean,
        before: &[
            first(
                Lead,
                15,
                "DECIDE: who may know? Tell nobody else, and nobody by the usual ways",
                "DECIDE : qui peut savoir ? Ne le dites à personne d'autre, et pas par les voies habituelles",
            ),
            first(
                Owner,
                30,
                "Lock the person's accounts, keys and remote access, and the vaults' keys that the person knew: releve key rotate",
                "Bloquez les comptes, clés et accès distants de la personne, et les clés des coffres qu'elle connaissait : releve key rotate",
            ),
            first(
                Owner,
                HOUR,
                "Unplug {unmanaged} from the network, and leave the power on",
                "Débranchez {unmanaged} du réseau, sans éteindre",
            ),
            first(
                Lead,
                HOUR,
                "Keep the traces: an image of the disk, the logs, under two persons' eyes. With a lawyer",
                "Gardez les traces : une image du disque, les journaux, sous les yeux de deux personnes. Avec un avocat",
            ),
            first(
                Lead,
                2 * HOUR,
                "Since when? Quiet changes leave no sign: where it is known, recover with --before TIME instead",
                "Depuis quand ? Des changements discrets ne laissent aucun signe : si on le sait, reprenez plutôt avec --before INSTANT",
            ),
        ],
        after: &[ROTATE, COMPARE],
        approvals: 2,
    },
];
